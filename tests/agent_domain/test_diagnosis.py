"""Evidence becomes named causes, each with the next act."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fedagent.domain.decision import Finding
from fedagent.domain.diagnosis import cause_named, cause_of
from fedagent.domain.diagnosis import findings_of as diagnose
from fedagent.domain.observed import (
    ClaimView,
    EventView,
    KubeFateView,
    ParticipantObserved,
    PodView,
    ServiceAccess,
)
from fedagent.domain.timing import PlanTiming
from fedcore.words import Severity

UP = KubeFateView(ServiceAccess.READY)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PENDING = PodView("nginx-1", "u", "nginx", "Pending", is_ready=False, started_at=None)


def pod(**more: Any) -> PodView:
    return replace(PENDING, **more)


def findings_of(seen: ParticipantObserved) -> tuple[Finding, ...]:
    return diagnose(seen, NOW, PlanTiming())


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


def unready(since: timedelta, **more: Any) -> PodView:
    running = (("nginx", NOW - since),)
    return pod(phase="Running", namespace="fate-9999", unready=running, **more)


def test_a_container_that_runs_and_is_not_ready_is_named_after_three_minutes() -> None:
    early = ParticipantObserved(kubefate=UP, pods=(unready(timedelta(seconds=179)),))
    assert findings_of(early) == ()
    late = replace(early, pods=(unready(timedelta(minutes=5, seconds=50)),))
    (finding,) = findings_of(late)
    assert (finding.code, finding.severity) == ("NotBecomingReady", Severity.ERROR)
    assert "nginx-1: nginx" in finding.message
    assert "5 min" in finding.message
    assert "kubectl logs -n fate-9999 nginx-1 -c nginx" in finding.hint
    going = replace(early, pods=(unready(timedelta(hours=1), terminating=True),))
    assert findings_of(going) == ()


def test_the_last_failure_of_its_probe_is_told_with_it() -> None:
    events = tuple(
        EventView(reason, text, about, NOW - timedelta(seconds=age_s))
        for reason, text, about, age_s in (
            ("Unhealthy", "Readiness probe failed: HTTP 503", "Pod/nginx-1", 10),
            ("Unhealthy", "Readiness probe failed: refused", "Pod/nginx-1", 90),
            ("Unhealthy", "Readiness probe failed: other", "Pod/nginx-2", 1),
            ("BackOff", "something else", "Pod/nginx-1", 1),
        )
    )
    seen = ParticipantObserved(kubefate=UP, pods=(unready(timedelta(minutes=4)),), events=events)
    (finding,) = findings_of(seen)
    assert finding.message.endswith("Readiness probe failed: HTTP 503")


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
