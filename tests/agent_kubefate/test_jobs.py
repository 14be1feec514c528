from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedagent.kubefate import errors
from fedagent.kubefate.client import KubeFate
from fedagent.kubefate.jobs import (
    Outcome,
    newest_job,
    prepare_values,
    submit_delete,
    submit_install,
    submit_update,
    track,
)
from fedagent.kubefate.records import (
    Cluster,
    ClusterArgs,
    ClusterStatus,
    Job,
    JobMethod,
    JobStatus,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DATA = prepare_values('{"name":"f"}', owner="hub/p", revision="2.1", digest="d")
ARGS = ClusterArgs("f", "ns", "fate", "v1.8.0", DATA)
CLUSTER = Cluster("c1", "f", "ns", "fate", "v1.8.0", ClusterStatus.RUNNING)


def job_row(uuid: str, revision: str, **more: object) -> dict[str, object]:
    data = base64.b64encode(json.dumps({"lcmRevision": revision}).encode()).decode()
    meta = {"name": "f", "namespace": "ns", "data": data}
    return {"uuid": uuid, "status": "Running", "method": "ClusterInstall", "meta_data": meta} | more


def running(**more: Any) -> Job:
    return Job("j", JobMethod.INSTALL, JobStatus.RUNNING, start_time=NOW, **more)


def test_values_are_canonical_and_bear_the_three_keys() -> None:
    assert DATA == b'{"lcmDigest":"d","lcmOwner":"hub/p","lcmRevision":"2.1","name":"f"}'


def test_values_that_are_no_object_are_refused() -> None:
    with pytest.raises(ValueError, match="no object"):
        prepare_values("[]", owner="", revision="", digest="")


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_values_keep_what_the_document_says(values: dict[str, object]) -> None:
    data = prepare_values(json.dumps(values), owner="o", revision="1.1", digest="d")
    parsed = json.loads(data)
    assert {k: parsed[k] for k in values if not k.startswith("lcm")} == {
        k: v for k, v in values.items() if not k.startswith("lcm")
    }


async def test_a_lost_answer_to_an_installation_is_looked_up(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("POST /v1/cluster", "break")
    rows = [job_row("old", "1.1"), job_row("new", "2.1")]
    fake.answer("GET /v1/job/", fake_reply({"data": rows}))
    submission = await submit_install(client, ARGS)
    assert submission.outcome is Outcome.STARTED
    assert submission.job is not None
    assert submission.job.uuid == "new"
    assert fake.count("POST /v1/cluster") == 1


async def test_a_submission_that_never_arrived_is_said_to_be_unknown(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("PUT /v1/cluster", "break")
    fake.answer("GET /v1/job/", fake_reply({"data": [job_row("old", "1.1")]}))
    with pytest.raises(errors.Unavailable):
        await submit_update(client, ARGS)
    assert fake.count("PUT /v1/cluster") == 1


async def test_an_installation_that_is_there_already_names_its_job(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    words = "name=f & namespace=ns Cluster already existed"
    fake.answer("POST /v1/cluster", fake_reply({"error": words}, 500))
    fake.answer("GET /v1/job/", fake_reply({"data": [job_row("mine", "2.1")]}))
    submission = await submit_install(client, ARGS)
    assert submission.outcome is Outcome.ALREADY_THERE
    assert submission.job is not None


@pytest.mark.parametrize(
    ("sentence", "outcome"),
    [
        ("name=f Cluster is not existed", Outcome.GONE),
        ("the configuration file did not change", Outcome.UNCHANGED),
    ],
)
async def test_an_update_that_cannot_begin_says_why(
    fake: Any, client: KubeFate, fake_reply: Any, sentence: str, outcome: Outcome
) -> None:
    fake.answer("PUT /v1/cluster", fake_reply({"error": sentence}, 500))
    fake.answer("GET /v1/job/", fake_reply({"data": []}))
    assert (await submit_update(client, ARGS)).outcome is outcome


async def test_a_lost_answer_to_a_deletion_is_looked_up(
    fake: Any, client: KubeFate, fake_reply: Any
) -> None:
    fake.answer("DELETE /v1/cluster/c1", "break")
    rows = [
        {"uuid": "i", "cluster_id": "c1", "method": "ClusterInstall", "status": "Success"},
        {"uuid": "d", "cluster_id": "c1", "method": "ClusterDelete", "status": "Running"},
    ]
    fake.answer("GET /v1/job/", fake_reply({"data": rows}))
    submission = await submit_delete(client, CLUSTER)
    assert submission.job is not None
    assert submission.job.uuid == "d"


async def test_a_deletion_of_nothing_is_gone(fake: Any, client: KubeFate, fake_reply: Any) -> None:
    missing = fake_reply({"error": "record not found"}, 500)
    fake.answer("DELETE /v1/cluster/c1", missing)
    assert (await submit_delete(client, CLUSTER)).outcome is Outcome.GONE


def test_the_newest_open_job_comes_before_a_newer_ended_one() -> None:
    ended = Job("e", JobMethod.DELETE, JobStatus.SUCCESS, cluster_id="c1")
    open_job = Job("o", JobMethod.UPDATE, JobStatus.RUNNING, cluster_id="c1")
    other = Job("x", JobMethod.INSTALL, JobStatus.RUNNING, name="f", namespace="other")
    assert newest_job((open_job, ended, other), CLUSTER, "f", "ns") == open_job
    assert newest_job((ended,), CLUSTER, "f", "ns") == ended
    assert newest_job((other,), CLUSTER, "f", "ns") is None


def test_a_job_that_counts_shows_signs_of_life_and_a_silent_one_does_not() -> None:
    trace = None
    for second in range(5):
        now = NOW + timedelta(seconds=second)
        trace = track(trace, running(states=(f"checkout Cluster status [{second}]",)), now)
        assert trace.alive_at == now
    silent = running(states=("checkout Cluster status [4]",))
    assert track(trace, silent, NOW + timedelta(seconds=99)).alive_at == NOW + timedelta(seconds=4)
