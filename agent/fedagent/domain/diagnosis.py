"""From evidence to named causes: pods, events, claims, and what KubeFATE says about its jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fedagent.domain.decision import Finding
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

_MAX_FINDINGS: Final = 20
_MANY_RESTARTS: Final = 3
_CUT: Final = 400
_IMAGE_REASONS: Final = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"}
)
_CONFIG_REASONS: Final = frozenset({"CreateContainerConfigError", "CreateContainerError"})
_SECRET = re.compile(r'secret(?:s)? "([^"]+)" not found')


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a KubeFATE job failed. ``is_lasting``: trying again alone will not help."""

    code: str
    is_lasting: bool
    hint: str
    tries: int = 5


INSTALL_TIMED_OUT: Final = "InstallTimedOut"
"""KubeFATE gave up on an install after an hour (pkg/job/cluster_install.go)."""
RELEASE_LOST: Final = "ReleaseLost"
"""Helm knows nothing of a cluster that KubeFATE has a record of: its Secrets are gone."""
UNKNOWN_CAUSE: Final = Cause("HelmFailed", is_lasting=True, hint="Read KubeFATE's log.", tries=5)

_CAUSES: Final[tuple[tuple[re.Pattern[str], Cause], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), cause)
    for pattern, cause in (
        (
            r"another operation \(install/upgrade/rollback\) is in progress",
            Cause("HelmBusy", is_lasting=False, hint="Helm is at work; it is tried again."),
        ),
        (
            "failed to download|not a valid chart repo|ValuesTemplate not exist|chart .*not found",
            Cause(
                "ChartMissing",
                is_lasting=True,
                hint="Upload the chart's archive to the hub (`fedctl chart upload`).",
                tries=3,
            ),
        ),
        (
            r"exceeded quota|must specify limits|exceeds quota|forbidden: .*quota",
            Cause(
                "QuotaExceeded",
                is_lasting=True,
                hint="Raise the namespace's ResourceQuota or lower the requests in `values`.",
                tries=3,
            ),
        ),
        (
            r"provided port is already allocated",
            Cause(
                "NodePortTaken",
                is_lasting=True,
                hint="Another Service has that node port: choose another, or leave it out.",
                tries=3,
            ),
        ),
        (
            r"cannot re-use a name that is still in use",
            Cause("OrphanRelease", is_lasting=False, hint="The old release is cleared away."),
        ),
        (
            r"release: not found|has no deployed releases",
            Cause(RELEASE_LOST, is_lasting=False, hint="It is installed anew."),
        ),
        (
            r"did not change",
            Cause("Unchanged", is_lasting=False, hint="Submitted again as a new revision."),
        ),
        (
            r"namespaces .* not found",
            Cause("NamespaceMissing", is_lasting=False, hint="The namespace is made again."),
        ),
        (
            "template:|parse error|execution error at|YAML|nil pointer|immutable|updates to state",
            Cause(
                "ChartRefused",
                is_lasting=True,
                hint="Correct `values` of the participant, or remove and add it again.",
                tries=3,
            ),
        ),
        (
            r"status time ?out",
            Cause(
                INSTALL_TIMED_OUT,
                is_lasting=True,
                hint="The findings name what its pods lacked.",
                tries=3,
            ),
        ),
        (
            r"connection refused|i/o timeout|EOF|etcdserver|too many requests|unavailable",
            Cause("ClusterBusy", is_lasting=False, hint="The Kubernetes API did not answer."),
        ),
    )
)

_CODES: Final = {cause.code: cause for _, cause in _CAUSES} | {UNKNOWN_CAUSE.code: UNKNOWN_CAUSE}
JOB_STUCK: Final = Cause(
    "JobStuck", is_lasting=False, hint="KubeFATE resumes no job after a restart; tried again."
)


def cause_of(text: str) -> Cause:
    """Return the cause that a failed job's text names."""
    return next((cause for pattern, cause in _CAUSES if pattern.search(text)), UNKNOWN_CAUSE)


def cause_named(code: str) -> Cause:
    """Return a cause by its code; transient when the code is not of a failed job."""
    return _CODES.get(code, Cause(code, is_lasting=False, hint=""))


def findings_of(
    observed: ParticipantObserved, now: datetime, timing: PlanTiming
) -> tuple[Finding, ...]:
    """Return what is wrong with the workloads, worst first, one per object and cause."""
    findings: dict[tuple[str, str], Finding] = {}
    for finding in (
        *_of_pods(observed.pods),
        *_of_unready(observed, now, timing),
        *_of_events(observed.events, observed.pods),
        *_of_claims(observed.claims),
        *_of_kubefate(observed.kubefate),
    ):
        findings.setdefault((finding.code, finding.about), finding)
    order = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    ranked = sorted(
        findings.values(),
        key=lambda finding: (order[finding.severity], finding.about, finding.code),
    )
    return tuple(ranked[:_MAX_FINDINGS])


def _of_unready(
    observed: ParticipantObserved, now: datetime, timing: PlanTiming
) -> Iterable[Finding]:
    for pod in observed.pods:
        for container, since in pod.unready:
            age_s = (now - since).total_seconds()
            if age_s < timing.unready_limit_s or pod.terminating:
                continue
            text = f"{pod.name}: {container} runs and has not been ready for {age_s // 60:.0f} min"
            probe = _last_probe(observed.events, f"Pod/{pod.name}")
            yield Finding(
                "NotBecomingReady",
                Severity.ERROR,
                f"{text}; {probe}" if probe else text,
                f"Read its log: kubectl logs -n {pod.namespace} {pod.name} -c {container}",
                f"Pod/{pod.name}",
            )


def _last_probe(events: Iterable[EventView], about: str) -> str:
    """Return the kubelet's last message about a probe that failed."""
    failed = [event for event in events if (event.reason, event.about) == ("Unhealthy", about)]
    last = max(failed, key=lambda event: event.at.timestamp() if event.at else 0.0, default=None)
    return "" if last is None else last.message[:_CUT]


def _of_pods(pods: Iterable[PodView]) -> Iterable[Finding]:
    for pod in pods:
        about = f"Pod/{pod.name}"
        if pod.unschedulable:
            yield Finding(
                "Unschedulable",
                Severity.ERROR,
                f"no node takes {pod.name}: {pod.unschedulable[:_CUT]}",
                "Add a node, or lower the requests in the participant's `values`.",
                about,
            )
        for container, reason, message in pod.waiting:
            finding = _of_container(pod, container, reason, message)
            if finding is not None:
                yield finding


def _of_container(pod: PodView, container: str, reason: str, message: str) -> Finding | None:
    about = f"Pod/{pod.name}"
    text = message[:_CUT]
    if reason in _IMAGE_REASONS:
        return Finding(
            "ImagePullFailed",
            Severity.ERROR,
            f"{pod.name}: the image of {container} cannot be pulled: {text or reason}",
            "Check the image's name and tag, the registry's address and the pull secret.",
            about,
        )
    if reason in _CONFIG_REASONS:
        missing = _SECRET.search(message)
        return Finding(
            "MissingSecret" if missing else "ContainerConfigFailed",
            Severity.ERROR,
            f"{pod.name}: {container} cannot start: {text or reason}",
            "The named object must exist in the namespace.",
            about,
        )
    if reason == "CrashLoopBackOff" or pod.restarts >= _MANY_RESTARTS:
        return Finding(
            "CrashLoop",
            Severity.ERROR,
            f"{pod.name}: {container} stopped {pod.restarts} times: {text or reason}",
            f"Read its log: kubectl logs -n {pod.namespace} {pod.name} -c {container} --previous",
            about,
        )
    return None


def _of_events(events: Iterable[EventView], pods: Iterable[PodView]) -> Iterable[Finding]:
    waiting = {f"Pod/{pod.name}" for pod in pods if not pod.is_ready}
    for event in events:
        text = event.message[:_CUT]
        if event.reason == "FailedMount" and event.about in waiting:
            code = "MissingSecret" if _SECRET.search(event.message) else "VolumePending"
            hint = "The Secret or volume that the pod mounts must exist in the namespace."
            yield Finding(code, Severity.ERROR, f"{event.about}: {text}", hint, event.about)
        elif event.reason == "FailedCreate" and "quota" in event.message:
            cause = cause_named("QuotaExceeded")
            yield Finding(cause.code, Severity.ERROR, text, cause.hint, event.about)
        elif event.reason in {"ProvisioningFailed", "FailedBinding"}:
            hint = "Name a storage class that can provision, or make a volume."
            yield Finding("VolumePending", Severity.ERROR, text, hint, event.about)


def _of_claims(claims: Iterable[ClaimView]) -> Iterable[Finding]:
    for claim in claims:
        if claim.of_release and claim.phase == "Pending":
            yield Finding(
                "VolumePending",
                Severity.WARNING,
                f"volume claim {claim.name} is not bound",
                "Name a storage class that can provision, or make a volume.",
                f"PersistentVolumeClaim/{claim.name}",
            )


def _of_kubefate(view: KubeFateView) -> Iterable[Finding]:
    if view.access is ServiceAccess.UNAUTHORIZED:
        yield Finding(
            "KubeFateRefused",
            Severity.ERROR,
            f"KubeFATE refuses the agent's credentials: {view.message[:_CUT]}",
            "Correct the credentials that the agent uses.",
            "KubeFATE",
        )
    elif not view.answers:
        yield Finding(
            "KubeFateUnavailable",
            Severity.WARNING,
            f"KubeFATE does not answer: {view.message[:_CUT] or view.access}",
            "Nothing is lost; work goes on when the service is back.",
            "KubeFATE",
        )
