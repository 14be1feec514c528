"""Events between two statuses of one resource. Pure: what changed is what is told, once.

The status and its events are stored in one transaction, so that a crash tells nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from fedagent.domain.document import Document, EndpointDocument
from fedagent.domain.route_probes import PARTY_UNREACHABLE, WRONG_CERTIFICATE
from fedproto.agent.v1 import event_pb2, status_pb2

_INFO: Final = status_pb2.SEVERITY_INFO
_WARNING: Final = status_pb2.SEVERITY_WARNING
_ERROR: Final = status_pb2.SEVERITY_ERROR
_VERBS: Final = {
    status_pb2.PHASE_PLANNED: ("planned", _INFO),
    status_pb2.PHASE_WAITING: ("waiting", _INFO),
    status_pb2.PHASE_INSTALLING: ("installing", _INFO),
    status_pb2.PHASE_DEPLOYING: ("deploying", _INFO),
    status_pb2.PHASE_RECONFIGURING: ("reconfiguring", _INFO),
    status_pb2.PHASE_UPGRADING: ("upgrading", _INFO),
    status_pb2.PHASE_READY: ("ready", _INFO),
    status_pb2.PHASE_DEGRADED: ("degraded", _WARNING),
    status_pb2.PHASE_REMOVING: ("removing", _INFO),
    status_pb2.PHASE_GONE: ("gone", _INFO),
    status_pb2.PHASE_FAILED: ("failed", _ERROR),
    status_pb2.PHASE_AWAITING_APPROVAL: ("awaiting_approval", _WARNING),
    status_pb2.PHASE_REFUSED: ("refused", _ERROR),
}
_TOLD_WARNINGS: Final = frozenset({PARTY_UNREACHABLE, WRONG_CERTIFICATE})
"""What concerns others than the resource itself."""
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
    kind: str, severity: status_pb2.Severity.ValueType, message: str, facts: Mapping[str, str]
) -> event_pb2.Event:
    return event_pb2.Event(kind=kind, severity=severity, message=message, facts=dict(facts))


def _phase(
    noun: str, old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    moved = old.phase != new.phase or (old.reason != new.reason and _VERBS[new.phase][1] != _INFO)
    newer = new.observed_generation > old.observed_generation and new.phase in {
        status_pb2.PHASE_READY,
        status_pb2.PHASE_GONE,
    }
    if moved or newer:
        verb, severity = _VERBS[new.phase]
        yield _event(f"{noun}.{verb}", severity, new.message, {"reason": new.reason})


def _steps(
    noun: str, old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    # A step that waits again for one before it keeps its end: it is not told twice.
    done = {step.name for step in old.steps if step.HasField("ended_at")}
    for step in new.steps:
        if step.state == status_pb2.STEP_STATE_DONE and step.name not in done:
            message = f"step {step.name} is done"
            yield _event(f"{noun}.step_done", _INFO, message, {"step": step.name})


def _certificates(
    old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    known = {item.secret_name: item.serial for item in old.certificates}
    for item in new.certificates:
        if known.get(item.secret_name) != item.serial:
            message = f"Secret {item.secret_name} holds a new certificate"
            facts = {"secret": item.secret_name, "serial": item.serial}
            yield _event("certificate.issued", _INFO, message, facts)


def _drift(
    old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    if new.reason in _DRIFT and old.reason != new.reason:
        yield _event("drift.found", _WARNING, new.message, {"reason": new.reason})


def _probes(
    old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    known = {probe.key: probe.state for probe in old.probes}
    for probe in new.probes:
        was = known.get(probe.key)
        if was == probe.state:
            continue
        if probe.state == status_pb2.PROBE_STATE_REACHABLE:
            yield _event("route.reachable", _INFO, f"{probe.key} is served", {"key": probe.key})
        elif was == status_pb2.PROBE_STATE_REACHABLE:
            message = f"{probe.key}: {probe.message}"
            yield _event("route.unreachable", _WARNING, message, {"key": probe.key})


def _findings(
    noun: str, old: status_pb2.ResourceStatus, new: status_pb2.ResourceStatus
) -> Iterable[event_pb2.Event]:
    known = {(item.code, item.object) for item in old.findings}
    for item in new.findings:
        is_told = item.severity == _ERROR or item.code in _TOLD_WARNINGS
        if (item.code, item.object) not in known and is_told:
            facts = {"code": item.code, "object": item.object}
            yield _event(f"{noun}.trouble", item.severity, item.message, facts)
