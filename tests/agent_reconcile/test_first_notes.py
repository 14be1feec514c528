"""What is known of a proxy that an install has just started, before its first update comes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fedagent.domain.observed import ParticipantObserved, PodView, ReleaseView, TableView
from fedagent.domain.proxy_sync import first_notes
from fedagent.domain.state import Method, Outcome, ProxyState, ResourceState, Submission
from fedagent.wire.decode import decode_document

NOW = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
SENT = Submission(1, 1, Method.INSTALL, NOW - timedelta(seconds=20), "job-1")


def pod(name: str, workload: str, seconds_old: float = 5.0) -> PodView:
    return PodView(
        name=name,
        uid=f"uid-{name}",
        workload=workload,
        phase="Running",
        is_ready=True,
        started_at=NOW - timedelta(seconds=seconds_old),
    )


def notes(docs: Any, state: ResourceState, **changes: Any) -> dict[str, ProxyState]:
    document = decode_document(docs.exchange())
    tables = {
        table.config_map: TableView(table.config_map, table.entries) for table in document.tables
    }
    observed = ParticipantObserved(
        tables=tables,
        pods=(pod("ts-1", "traffic-server"), pod("n-1", "nginx")),
        releases=(ReleaseView(1, "deployed", created_at=NOW - timedelta(seconds=10)),),
    )
    # The document that came meanwhile has a route more than what was installed.
    newer = decode_document(docs.exchange(2, [(9999, "10.0.0.9", 30100, "10.0.0.9", 30101)]))
    found = first_notes(newer, replace(observed, **changes), state, NOW)
    return {note.deployment: note for note in found}


def test_pods_that_the_install_started_have_read_the_table_that_is_there(docs: Any) -> None:
    found = notes(docs, ResourceState(submissions=(SENT,)))
    assert set(found) == {"traffic-server", "nginx"}
    note = found["traffic-server"]
    assert (note.keys, note.pod_uids, note.how) == (
        ("sentinel.credit.example.com",),
        ("uid-ts-1",),
        "started",
    )


@pytest.mark.parametrize(
    "state",
    [
        ResourceState(),
        ResourceState(submissions=(replace(SENT, outcome=Outcome.SUCCEEDED),)),
        ResourceState(submissions=(replace(SENT, method=Method.UPDATE),)),
    ],
)
def test_only_an_install_under_way_is_sure_of_it(docs: Any, state: ResourceState) -> None:
    assert notes(docs, state) == {}


def test_older_pods_later_revisions_and_torn_tables_tell_nothing(docs: Any) -> None:
    state = ResourceState(submissions=(SENT,))
    created_at = NOW - timedelta(seconds=10)
    old = (pod("ts-1", "traffic-server", 60), pod("n-1", "nginx"))
    assert set(notes(docs, state, pods=old)) == {"nginx"}
    mixed = (pod("ts-0", "traffic-server", 60), pod("ts-1", "traffic-server"))
    assert notes(docs, state, pods=mixed) == {}
    again = (ReleaseView(1, "superseded", created_at=created_at), ReleaseView(2, "deployed"))
    assert notes(docs, state, releases=again) == {}
    assert notes(docs, state, releases=(ReleaseView(2, "deployed", created_at=created_at),)) == {}
    torn = {"traffic-server-sni": TableView("traffic-server-sni", (), "no list")}
    assert notes(docs, state, tables=torn) == {}


def test_what_a_note_says_already_stays(docs: Any) -> None:
    known = ProxyState("nginx", ("uid-n-1",), "d", (), NOW, "reload")
    state = ResourceState(submissions=(SENT,), proxies={"nginx": known})
    assert set(notes(docs, state)) == {"traffic-server"}
