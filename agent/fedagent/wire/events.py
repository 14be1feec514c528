"""The events that lie between two statuses of one resource.

Each change becomes one event. The journal stores a status and its events in one transaction, so
that a crash between the two neither loses an event nor repeats it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from fedagent.domain.document import Document, EndpointDocument
from fedagent.domain.route_probes import PARTY_UNREACHABLE, WRONG_CERTIFICATE
from fedcore.words import Phase, Severity
from fedproto.agent.v1 import event_pb2, status_pb2
from fedproto.words import from_wire, to_wire

_PHASE_SEVERITIES: Final[Mapping[Phase, Severity]] = {
    Phase.DEGRADED: Severity.WARNING,
    Phase.AWAITING_APPROVAL: Severity.WARNING,
    Phase.FAILED: Severity.ERROR,
    Phase.REFUSED: Severity.ERROR,
}
"""Phases that people must notice; any other is worth an info."""
_REPORTED_WARNINGS: Final = frozenset({PARTY_UNREACHABLE, WRONG_CERTIFICATE})
"""Findings that become events though they are warnings: they concern another participant."""
_DRIFT: Final = frozenset({"Drift", "ComponentMissing", "DatabaseLost"})


def events_between(
    document: Document,
    before: status_pb2.ResourceStatus | None,
    after: status_pb2.ResourceStatus,
    now: datetime,
) -> tuple[event_pb2.Event, ...]:
    """Return what happened from ``before`` to ``after``, in the order that people expect."""
    noun = "endpoint" if isinstance(document, EndpointDocument) else "participant"
    old = before if before is not None else status_pb2.ResourceStatus()
    same_document = old.observed_generation == after.observed_generation
    events = [
        *_certificates(old, after),
        *_steps(noun, old if same_document else status_pb2.ResourceStatus(), after),
        *_drift(old, after),
        *_probes(old, after),
        *_findings(noun, old, after),
        *_phase(noun, old, after),
    ]
    for event in events:
        event.occurred_at.FromDatetime(now)
        event.resource_id = after.resource_id
        event.generation = after.observed_generation
    return tuple(events)


def _event(
    kind: str, severity: Severity, message: str, facts: Mapping[str, str]
) -> event_pb2.Event:
    return event_pb2.Event(
        kind=kind, severity=to_wire(severity), message=message, facts=dict(facts)
    )


def _phase(
    noun: str, old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    phase = from_wire(Phase, new.phase)
    if phase is None:
        return
    severity = _PHASE_SEVERITIES.get(phase, Severity.INFO)
    # Of a phase that is no trouble the reason changes often and says nothing new.
    is_news = old.phase != new.phase or (old.reason != new.reason and severity is not Severity.INFO)
    # A newer document may be Ready at once: whoever waits for it must hear of it.
    is_newer = new.observed_generation > old.observed_generation
    if is_news or (is_newer and phase in {Phase.READY, Phase.GONE}):
        kind = f"{noun}.{phase.name.lower()}"
        yield _event(kind, severity, new.message, {"reason": new.reason})


def _steps(
    noun: str, old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    # A step that waits again for one before it keeps its end: its event is not repeated.
    done = {step.name for step in old.steps if step.HasField("ended_at")}
    for step in new.steps:
        if step.state == status_pb2.STEP_STATE_DONE and step.name not in done:
            message = f"step {step.name} is done"
            yield _event(f"{noun}.step_done", Severity.INFO, message, {"step": step.name})


def _certificates(
    old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    serials = {certificate.secret_name: certificate.serial for certificate in old.certificates}
    for certificate in new.certificates:
        if serials.get(certificate.secret_name) != certificate.serial:
            message = f"Secret {certificate.secret_name} holds a new certificate"
            facts = {"secret": certificate.secret_name, "serial": certificate.serial}
            yield _event("certificate.issued", Severity.INFO, message, facts)


def _drift(
    old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    if new.reason in _DRIFT and old.reason != new.reason:
        yield _event("drift.found", Severity.WARNING, new.message, {"reason": new.reason})


def _probes(
    old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    reachable = status_pb2.PROBE_STATE_REACHABLE
    states = {probe.key: probe.state for probe in old.probes}
    for probe in new.probes:
        before, facts = states.get(probe.key), {"key": probe.key}
        if before == probe.state:
            continue
        if probe.state == reachable:
            yield _event("route.reachable", Severity.INFO, f"{probe.key} is served", facts)
        elif before == reachable:
            message = f"{probe.key}: {probe.message}"
            yield _event("route.unreachable", Severity.WARNING, message, facts)


def _findings(
    noun: str, old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    old_findings = {(finding.code, finding.object) for finding in old.findings}
    for finding in new.findings:
        severity = from_wire(Severity, finding.severity) or Severity.ERROR
        is_reported = severity is Severity.ERROR or finding.code in _REPORTED_WARNINGS
        if is_reported and (finding.code, finding.object) not in old_findings:
            facts = {"code": finding.code, "object": finding.object}
            yield _event(f"{noun}.trouble", severity, finding.message, facts)
