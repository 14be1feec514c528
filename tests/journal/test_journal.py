"""The agent's journal: on disk before it is acknowledged, in order, and never lost."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fedagent.domain.document import Chart
from fedagent.domain.state import (
    LastGoodConfig,
    Method,
    Outcome,
    Probe,
    ProxyState,
    StepTimes,
    Submission,
)
from fedagent.journal import Journal, SpoolFull, open_journal
from fedagent.journal.approvals import Wanted
from fedagent.journal.errors import JournalTooNew
from fedcore import limits
from fedcore.clock import SystemClock
from fedcore.errors import NotFound
from fedcore.words import ProbeState
from fedproto.agent.v1 import document_pb2, event_pb2, status_pb2

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def open_file(tmp_path: Path) -> Any:
    async with AsyncExitStack() as stack:

        async def open_it(**bounds: int) -> Journal:
            return await stack.enter_async_context(
                open_journal(tmp_path / "state" / "journal.sqlite", clock=SystemClock(), **bounds)
            )

        yield open_it


@pytest.fixture
async def journal(open_file: Any) -> Journal:
    return await open_file()


def document(resource_id: str = "r-1", generation: int = 1, **more: Any) -> Any:
    digest = more.pop("digest", f"d{generation}")
    return document_pb2.DesiredDocument(
        resource_id=resource_id, generation=generation, digest=digest, **more
    )


def event(kind: str = "participant.ready", **more: Any) -> event_pb2.Event:
    return event_pb2.Event(kind=kind, **more)


async def test_a_document_is_there_after_the_process_is_gone(open_file: Any) -> None:
    first = await open_file()
    assert await first.documents.put([document()]) == ("r-1",)
    second = await open_file()
    assert [ref.generation for ref in await second.documents.refs()] == [1]
    assert second.instance_id == first.instance_id
    assert (await second.spool.position()).spool_id == (await first.spool.position()).spool_id


async def test_an_older_generation_and_a_repetition_change_nothing(journal: Journal) -> None:
    await journal.documents.put([document(generation=3)])
    journal.documents.changed.clear()
    assert await journal.documents.put([document(generation=2), document(generation=3)]) == ()
    assert not journal.documents.changed.is_set()
    stored = await journal.documents.get("r-1")
    assert stored is not None
    assert stored.generation == 3


async def test_only_an_absent_document_is_forgotten_and_with_it_all_memory(
    journal: Journal,
) -> None:
    await journal.documents.put([document(), document("r-2", absent=True)])
    await journal.states.begin("r-2", Submission(1, 1, Method.INSTALL, NOW))
    assert await journal.documents.forget(["r-1", "r-2", "r-3"]) == ("r-2",)
    assert [item.resource_id for item in await journal.documents.all()] == ["r-1"]
    assert (await journal.states.load("r-2")).submissions == ()


async def test_a_status_that_says_the_same_is_not_sent_again(journal: Journal) -> None:
    status = status_pb2.ResourceStatus(resource_id="r-1", reason="Ready")
    assert await journal.statuses.put(status)
    assert not await journal.statuses.put(status)
    pending = await journal.statuses.unsent()
    assert [item.status.reason for item in pending] == ["Ready"]
    await journal.statuses.mark_sent(pending)
    assert await journal.statuses.unsent() == ()
    await journal.statuses.resend_all()
    assert len(await journal.statuses.unsent()) == 1


async def test_a_status_that_changes_while_it_is_sent_stays_unsent(journal: Journal) -> None:
    await journal.statuses.put(status_pb2.ResourceStatus(resource_id="r-1", reason="A"))
    pending = await journal.statuses.unsent()
    await journal.statuses.put(status_pb2.ResourceStatus(resource_id="r-1", reason="B"))
    await journal.statuses.mark_sent(pending)
    assert [item.status.reason for item in await journal.statuses.unsent()] == ["B"]


async def test_events_are_numbered_from_one_without_a_gap_even_after_acks(
    open_file: Any,
) -> None:
    journal = await open_file()
    await journal.spool.append([event(), event()])
    position = await journal.spool.position()
    assert (position.first_seq, position.last_seq, position.depth) == (1, 2, 2)
    await journal.spool.ack(position.spool_id, 2)
    await journal.spool.append([event()])
    again = await open_file()
    batch = await again.spool.batch(0)
    assert batch is not None
    assert [item.seq for item in batch.events] == [3]
    assert await again.spool.batch(3) is None


async def test_an_ack_of_another_spool_drops_nothing(journal: Journal) -> None:
    await journal.spool.append([event()])
    await journal.spool.ack("another", 1)
    assert (await journal.spool.position()).depth == 1


async def test_batches_keep_to_their_limits_and_never_get_stuck(journal: Journal) -> None:
    await journal.spool.append([event(message="x" * 1000) for _ in range(10)])
    batch = await journal.spool.batch(0, max_bytes=2_500)
    assert batch is not None
    assert [item.seq for item in batch.events] == [1, 2]
    single = await journal.spool.batch(2, max_bytes=10)
    assert single is not None
    assert len(single.events) == 1


async def test_an_oversized_event_is_cut_before_it_enters(journal: Journal) -> None:
    huge = event(message="x" * 10_000, facts={"a": "y" * limits.MAX_EVENT_BYTES})
    await journal.spool.append([huge])
    batch = await journal.spool.batch(0)
    assert batch is not None
    assert batch.events[0].ByteSize() <= limits.MAX_EVENT_BYTES


async def test_a_full_spool_refuses_rather_than_drops(open_file: Any) -> None:
    journal = await open_file(max_rows=10)
    await journal.spool.append([event()] * 7)
    assert journal.spool.takes_new_work
    await journal.spool.append([event()])
    assert not journal.spool.takes_new_work
    await journal.spool.append([event()] * 2)
    status = status_pb2.ResourceStatus(resource_id="r-1")
    with pytest.raises(SpoolFull):
        await journal.report(status, [event()])
    assert await journal.statuses.get("r-1") is None
    position = await journal.spool.position()
    assert position.depth == 10
    await journal.spool.ack(position.spool_id, 10)
    assert journal.spool.takes_new_work
    assert await journal.report(status, [event()])
    assert (await journal.spool.position()).last_seq == 11


async def test_a_spool_that_was_set_back_begins_anew_with_what_it_holds(
    journal: Journal,
) -> None:
    await journal.spool.append([event("a.b"), event("c.d")])
    before = await journal.spool.position()
    await journal.spool.ack(before.spool_id, 1)
    new_id = await journal.spool.restart()
    assert new_id != before.spool_id
    batch = await journal.spool.batch(0)
    assert batch is not None
    assert [(item.seq, item.kind) for item in batch.events] == [(1, "c.d")]


async def test_a_submission_cannot_be_begun_twice(journal: Journal) -> None:
    submission = Submission(4, 1, Method.INSTALL, NOW)
    await journal.states.begin("r-1", submission)
    with pytest.raises(sqlite3.IntegrityError):
        await journal.states.begin("r-1", submission)


async def test_everything_remembered_comes_back_as_it_was(open_file: Any) -> None:
    journal = await open_file()
    states = journal.states
    submission = Submission(4, 1, Method.INSTALL, NOW)
    await states.begin("r-1", submission)
    await states.note_job("r-1", submission, "job-9")
    await states.end(
        "r-1", submission, outcome=Outcome.FAILED, cause="HelmFailed", message="no", at=NOW
    )
    note = ProxyState("nginx", ("u1",), "digest", ("a", "b"), NOW, "reload", ("c",), 2)
    await states.put_proxy("r-1", note)
    probe = Probe("9999.example.com", ProbeState.REACHABLE, "yes", NOW, "digest")
    await states.put_probes("r-1", [probe])
    steps = {"namespace": StepTimes(NOW, NOW + timedelta(seconds=1)), "chart": StepTimes(NOW)}
    await states.put_steps("r-1", 4, steps)
    await states.put_table_seen("r-1", {"cm": ("digest", NOW)})
    good = LastGoodConfig(3, "{}", Chart("fate", "v1.8.0", "ab", from_hub=True))
    await states.put_ready("r-1", 3, good)
    await states.retry("r-1", NOW)
    state = await (await open_file()).states.load("r-1")
    assert state.submissions == (
        Submission(4, 1, Method.INSTALL, NOW, "job-9", Outcome.FAILED, "HelmFailed", "no", NOW),
    )
    assert state.proxies == {"nginx": note}
    assert state.probes == {probe.key: probe}
    assert (state.steps, state.steps_generation) == (steps, 4)
    assert state.table_seen == {"cm": ("digest", NOW)}
    assert (state.ready_generation, state.good, state.retried_at) == (3, good, NOW)


async def test_a_person_in_another_process_approves_and_it_is_noticed(open_file: Any) -> None:
    agent = await open_file()
    wanted = Wanted("r-1", 2, "sha-a")
    approval_id = await agent.approvals.ask(wanted, "install", summary="install it", at=NOW)
    assert await agent.approvals.ask(wanted, "install", summary="again", at=NOW) == approval_id
    version = await agent.data_version()
    person = await open_file()
    approval = await person.approvals.approve(approval_id, by="ada", at=NOW)
    assert (approval.kind, approval.approved_by) == ("install", "ada")
    assert await agent.data_version() != version
    assert (await agent.states.load("r-1")).approvals == frozenset({("sha-a", "install")})
    with pytest.raises(NotFound, match="fedagent approvals"):
        await person.approvals.approve("nothing", by="ada", at=NOW)


async def test_another_text_of_the_same_generation_is_asked_for_again(journal: Journal) -> None:
    approvals = journal.approvals
    first = await approvals.ask(Wanted("r-1", 2, "sha-a"), "install", summary="it", at=NOW)
    await approvals.approve(first, by="ada", at=NOW)
    second = await approvals.ask(Wanted("r-1", 2, "sha-b"), "install", summary="it", at=NOW)
    assert second != first
    assert (await journal.states.load("r-1")).approvals == frozenset({("sha-a", "install")})


async def test_a_request_for_a_text_that_was_replaced_cannot_be_approved(journal: Journal) -> None:
    approvals = journal.approvals
    first = await approvals.ask(Wanted("r-1", 2, "sha-a"), "install", summary="it", at=NOW)
    other = await approvals.ask(Wanted("r-2", 2, "sha-a"), "install", summary="it", at=NOW)
    second = await approvals.ask(Wanted("r-1", 2, "sha-b"), "install", summary="it", at=NOW)
    assert {item.approval_id for item in await approvals.all()} == {second, other}
    with pytest.raises(NotFound):
        await approvals.approve(first, by="ada", at=NOW)


async def test_a_write_cancelled_anywhere_leaves_the_journal_usable(journal: Journal) -> None:
    for number in range(60):
        task = asyncio.create_task(journal.documents.put([document(f"r-{number}")]))
        for _ in range(number % 6):
            await asyncio.sleep(0)
        if number % 6 == 5:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait({task})
    assert await journal.documents.put([document("last")]) == ("last",)


async def test_the_epoch_only_rises(journal: Journal) -> None:
    await journal.raise_epoch(5)
    await journal.raise_epoch(3)
    assert await journal.max_epoch() == 5


async def test_charts_are_remembered_per_service(journal: Journal) -> None:
    await journal.put_chart("one", "sha", "uuid-1")
    assert await journal.chart_uuid("one", "sha") == "uuid-1"
    assert await journal.chart_uuid("two", "sha") == ""
    await journal.forget_charts("one")
    assert await journal.chart_uuid("one", "sha") == ""


async def test_the_file_is_private_and_a_newer_format_is_refused(
    tmp_path: Path, open_file: Any
) -> None:
    await open_file()
    path = tmp_path / "state" / "journal.sqlite"
    assert path.stat().st_mode & 0o077 == 0
    newer = tmp_path / "newer.sqlite"
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(JournalTooNew, match="newer agent"):
        async with open_journal(newer, clock=SystemClock()):
            pass
