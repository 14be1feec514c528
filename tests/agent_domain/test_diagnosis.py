"""Evidence becomes named causes, each with the next act."""

from __future__ import annotations

import pytest

from fedagent.domain.diagnosis import cause_named, cause_of, findings_of
from fedagent.domain.observed import (
    ClaimView,
    EventView,
    KubeFateView,
    ParticipantObserved,
    PodView,
    ServiceAccess,
)

UP = KubeFateView(ServiceAccess.READY)


def pod(**more: object) -> PodView:
    base = {"uid": "u", "workload": "nginx", "phase": "Pending", "is_ready": False}
    return PodView(name="nginx-1", started_at=None, **(base | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        ({"waiting": (("nginx", "ImagePullBackOff", "no such tag"),)}, "ImagePullFailed"),
        ({"waiting": (("nginx", "CrashLoopBackOff", ""),), "restarts": 4}, "CrashLoop"),
        ({"unschedulable": "0/3 nodes: Insufficient cpu"}, "Unschedulable"),
        (
            {"waiting": (("nginx", "CreateContainerConfigError", 'secret "s" not found'),)},
            "MissingSecret",
        ),
    ],
)
def test_what_a_pod_says_is_named(seen: dict[str, object], code: str) -> None:
    findings = findings_of(ParticipantObserved(kubefate=UP, pods=(pod(**seen),)))
    assert [item.code for item in findings] == [code]
    assert findings[0].hint
    assert findings[0].about == "Pod/nginx-1"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (
            EventView("FailedMount", 'secret "pulsar-cert" not found', "Pod/nginx-1", None),
            "MissingSecret",
        ),
        (EventView("FailedMount", "timed out", "Pod/nginx-1", None), "VolumePending"),
        (EventView("FailedCreate", "exceeded quota: q", "ReplicaSet/n", None), "QuotaExceeded"),
        (
            EventView("ProvisioningFailed", "no class", "PersistentVolumeClaim/x", None),
            "VolumePending",
        ),
    ],
)
def test_what_an_event_says_is_named(event: EventView, code: str) -> None:
    seen = ParticipantObserved(kubefate=UP, pods=(pod(),), events=(event,))
    assert [item.code for item in findings_of(seen)] == [code]


def test_a_claim_that_waits_and_a_silent_service_are_warnings() -> None:
    claim = ClaimView("data", "Pending", of_release=True)
    view = KubeFateView(ServiceAccess.UNREACHABLE, "connection refused")
    codes = {item.code for item in findings_of(ParticipantObserved(kubefate=view, claims=(claim,)))}
    assert codes == {"VolumePending", "KubeFateUnavailable"}


def test_the_same_cause_is_told_once_and_the_list_is_bounded() -> None:
    pods = tuple(
        pod(unschedulable="no") if number == 0 else pod(unschedulable="no", uid=str(number))
        for number in range(100)
    )
    assert len(findings_of(ParticipantObserved(kubefate=UP, pods=pods))) == 1


@pytest.mark.parametrize(
    ("text", "code", "lasting"),
    [
        (
            "UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
            "HelmBusy",
            False,
        ),
        ("Checkout Cluster status timeOut!", "InstallTimedOut", True),
        ("dial tcp: i/o timeout", "ClusterBusy", False),
        ("the configuration file did not change", "Unchanged", False),
        ("cannot re-use a name that is still in use", "OrphanRelease", False),
        ("spec.selector: field is immutable", "ChartRefused", True),
        ("", "HelmFailed", True),
    ],
)
def test_a_jobs_text_is_classified(text: str, code: str, *, lasting: bool) -> None:
    cause = cause_of(text)
    assert (cause.code, cause.is_lasting) == (code, lasting)
    assert cause_named(code).is_lasting == lasting
