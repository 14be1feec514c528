from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedagent.kubefate.failures import Failure, failure_of
from fedagent.kubefate.records import (
    ClusterStatus,
    Job,
    JobMethod,
    JobStatus,
    parse_cluster,
    parse_job,
    parse_time,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
RECORDS = st.fixed_dictionaries(
    {"uuid": st.just("u1") | JSON},
    optional=dict.fromkeys(
        [
            "name",
            "namespaces",
            "Spec",
            "status",
            "revision",
            "UpdatedAt",
            "states",
            "sub_jobs",
            "meta_data",
            "method",
        ],
        JSON,
    ),
)


@given(RECORDS)
def test_no_record_is_unreadable_but_for_its_uuid(body: dict[str, Any]) -> None:
    for parse in (parse_cluster, parse_job):
        if isinstance(body["uuid"], str) and body["uuid"]:
            assert parse(body).uuid == body["uuid"]
        else:
            with pytest.raises(ValueError, match="uuid"):
                parse(body)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-06-25T04:39:37.612Z", datetime(2024, 6, 25, 4, 39, 37, 612000, UTC)),
        ("2024-06-25T04:39:37.123456789Z", datetime(2024, 6, 25, 4, 39, 37, 123456, UTC)),
        ("2024-06-25T12:39:37+08:00", datetime(2024, 6, 25, 4, 39, 37, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("2024-13-45T04:39:37Z", None),
        (None, None),
        (17, None),
    ],
)
def test_go_times_are_read(text: object, expected: datetime | None) -> None:
    assert parse_time(text) == expected


def test_a_cluster_tells_whose_it_is() -> None:
    spec = {"lcmOwner": "hub/p", "lcmRevision": "3.1", "lcmDigest": "abc"}
    cluster = parse_cluster({"uuid": "c", "namespaces": "ns", "Spec": spec, "status": "Rollback"})
    assert (cluster.owner, cluster.lcm_revision, cluster.lcm_digest) == ("hub/p", "3.1", "abc")
    assert cluster.namespace == "ns"
    assert cluster.status is ClusterStatus.ROLLBACK


def test_a_job_tells_its_checks_and_the_submission_it_came_from() -> None:
    data = base64.b64encode(b'{"lcmRevision":"3.2","name":"x"}').decode()
    job = parse_job(
        {
            "uuid": "j",
            "status": "Running",
            "method": "ClusterInstall",
            "states": ["helm install Success", "checkout Cluster status [41]"],
            "sub_jobs": {"nginx": {"Status": "Success", "ModulesStatus": "Available"}},
            "meta_data": {"name": "x", "namespace": "x", "data": data},
            "end_time": "0001-01-01T00:00:00Z",
        }
    )
    assert job.checks == 41
    assert job.lcm_revision == "3.2"
    assert job.sub_jobs[0].modules_status == "Available"
    assert not job.is_over


def test_a_failed_update_is_over_only_with_its_end_time() -> None:
    failing = Job("j", JobMethod.UPDATE, JobStatus.FAILED)
    ended = Job(
        "j", JobMethod.UPDATE, JobStatus.ROLLBACK, end_time=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert (failing.is_over, ended.is_over) == (False, True)


def test_a_failed_installation_is_over_only_when_it_says_why() -> None:
    silent = Job("j", JobMethod.INSTALL, JobStatus.FAILED, states=("create Cluster in DB Success",))
    told = Job("j", JobMethod.INSTALL, JobStatus.FAILED, states=("helm install error, x",))
    canceled = Job("j", JobMethod.INSTALL, JobStatus.CANCELED)
    assert (silent.is_over, told.is_over, canceled.is_over) == (False, True, True)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("helm install error, cannot re-use a name that is still in use", Failure.NAME_IN_USE),
        (
            "another operation (install/upgrade/rollback) is in progress",
            Failure.ANOTHER_OPERATION,
        ),
        ('helm install error, namespaces "x" not found', Failure.NAMESPACE_MISSING),
        (
            'helm install error, failed to download "kubefate/fate" at version "v2.0.0"',
            Failure.CHART_MISSING,
        ),
        ("UPGRADE FAILED: release: not found", Failure.RELEASE_MISSING),
        ("checkout Cluster status timeOut!", Failure.TIMED_OUT),
        ("Checkout Cluster status timeOut!", Failure.TIMED_OUT),
        ("Invalid value: 30109: provided port is already allocated", Failure.PORT_TAKEN),
        (
            'UPGRADE FAILED: cannot patch "nginx" with kind Service: Service "nginx" is invalid: x',
            Failure.INVALID_OBJECT,
        ),
        ("something new", Failure.UNKNOWN),
    ],
)
def test_the_text_of_a_failed_job_is_understood(state: str, expected: Failure) -> None:
    job = Job(
        "j", JobMethod.INSTALL, JobStatus.FAILED, states=("create Cluster in DB Success", state)
    )
    assert failure_of(job) is expected


def test_a_job_that_did_not_fail_has_no_failure() -> None:
    assert failure_of(Job("j", JobMethod.INSTALL, JobStatus.SUCCESS)) is None
    assert failure_of(Job("j", JobMethod.INSTALL, JobStatus.RUNNING)) is None


@pytest.mark.parametrize("odd", [5, "text", {"a": 1}, [3, None, {}]])
def test_odd_fields_read_as_empty(odd: object) -> None:
    job = parse_job({"uuid": "j", "states": odd, "sub_jobs": odd, "meta_data": odd})
    assert not "".join(job.states)
