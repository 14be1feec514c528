"""What the hub is told of one resource: its status, made of observation and decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fedagent.domain.decision import Decision, Finding, Phase, Severity, StepState
from fedagent.domain.document import (
    Document,
    ParticipantDocument,
    Table,
    TableKind,
    WorkloadKind,
)
from fedagent.domain.observed import ParticipantObserved, ServiceObserved
from fedagent.domain.policy import Policy, Telemetry
from fedagent.domain.route_probes import probed_routes
from fedagent.domain.state import ResourceState, StepTimes
from fedagent.domain.timing import PlanTiming
from fedcore.limits import MAX_TEXT_CHARS
from fedproto.agent.v1 import document_pb2, status_pb2

_MAX_KEYS: Final = 50
_MAX_LEFTOVERS: Final = 100
PHASES: Final[Mapping[Phase, status_pb2.Phase.ValueType]] = {
    phase: status_pb2.Phase.Value(f"PHASE_{phase.name}") for phase in Phase
}
_STEPS: Final = {
    state: status_pb2.StepState.Value(f"STEP_STATE_{state.name}") for state in StepState
}
SEVERITIES: Final = {
    severity: status_pb2.Severity.Value(f"SEVERITY_{severity.name}") for severity in Severity
}
_WORKLOADS: Final = {
    WorkloadKind.DEPLOYMENT: document_pb2.WORKLOAD_KIND_DEPLOYMENT,
    WorkloadKind.STATEFUL_SET: document_pb2.WORKLOAD_KIND_STATEFUL_SET,
}
_TABLES: Final = {
    TableKind.SNI: document_pb2.TABLE_KIND_SNI,
    TableKind.NGINX: document_pb2.TABLE_KIND_NGINX,
    TableKind.PULSAR: document_pb2.TABLE_KIND_PULSAR,
}
_PROBES: Final = {
    "reachable": status_pb2.PROBE_STATE_REACHABLE,
    "unreachable": status_pb2.PROBE_STATE_UNREACHABLE,
    "not-served": status_pb2.PROBE_STATE_NOT_SERVED,
    "party-down": status_pb2.PROBE_STATE_PARTY_DOWN,
}


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What a status is made of."""

    document: Document
    observed: ParticipantObserved | ServiceObserved
    memory: ResourceState
    decision: Decision
    policy: Policy
    timing: PlanTiming
    now: datetime


def status_of(
    told: StatusInputs, before: status_pb2.ResourceStatus | None
) -> status_pb2.ResourceStatus:
    """Return the status; ``since`` is kept while phase and reason stay."""
    decision = told.decision
    status = status_pb2.ResourceStatus(
        resource_id=told.document.resource_id,
        observed_generation=told.document.generation,
        digest=told.document.digest,
        phase=PHASES[decision.phase],
        reason=decision.reason,
        message=decision.message[:MAX_TEXT_CHARS],
        leftovers=decision.leftovers[:_MAX_LEFTOVERS],
    )
    same = before is not None and (before.phase, before.reason) == (status.phase, status.reason)
    if before is not None and same:
        status.since.CopyFrom(before.since)
    else:
        status.since.FromDatetime(told.now)
    _add_steps(status, told)
    status.findings.extend(_findings(decision.findings, told.policy))
    if isinstance(told.observed, ServiceObserved):
        _add_service(status, told.observed)
    elif isinstance(told.document, ParticipantDocument):
        _add_participant(status, told.document, told.observed, told.memory)
        _add_probes(status, told.document, told)
    return status


def steps_after(
    decision: Decision, generation: int, memory: ResourceState, now: datetime
) -> dict[str, StepTimes]:
    """Return when each step began and ended, after this decision."""
    known = memory.steps if memory.steps_generation == generation else {}
    times: dict[str, StepTimes] = {}
    for step in decision.steps:
        old = known.get(step.name)
        if step.state is StepState.PENDING:
            if old is not None and old.ended_at is not None:
                times[step.name] = old
            continue
        started_at = old.started_at if old is not None else now
        if step.state is StepState.DONE:
            ended = old.ended_at if old is not None else None
            times[step.name] = StepTimes(started_at, ended or now)
        elif old is not None and old.ended_at is not None:
            times[step.name] = StepTimes(now)
        else:
            times[step.name] = StepTimes(started_at)
    return times


def _add_steps(status: status_pb2.ResourceStatus, told: StatusInputs) -> None:
    same = told.memory.steps_generation == told.document.generation
    for step in told.decision.steps:
        row = status.steps.add(name=step.name, state=_STEPS[step.state], message=step.message)
        times = told.memory.steps.get(step.name) if same else None
        if times is None:
            continue
        row.started_at.FromDatetime(times.started_at)
        if times.ended_at is not None:
            row.ended_at.FromDatetime(times.ended_at)


def _findings(findings: Iterable[Finding], policy: Policy) -> Iterable[status_pb2.Finding]:
    """Return findings as far as the site lets them go: their words may name hosts and images."""
    level = policy.telemetry.findings
    if level is Telemetry.OFF:
        return
    for item in findings:
        redacted = level is Telemetry.REDACTED
        yield status_pb2.Finding(
            code=item.code,
            severity=SEVERITIES[item.severity],
            message="withheld by the site's policy" if redacted else item.message[:MAX_TEXT_CHARS],
            hint=item.hint,
            object="" if redacted else item.about,
        )


def _add_service(status: status_pb2.ResourceStatus, seen: ServiceObserved) -> None:
    ours = seen.owner is not None
    status.endpoint.version = seen.version
    status.endpoint.adopted = seen.is_installed and not ours
    status.endpoint.access = seen.access


def _add_participant(
    status: status_pb2.ResourceStatus,
    document: ParticipantDocument,
    seen: ParticipantObserved,
    memory: ResourceState,
) -> None:
    for item in document.components:
        found = seen.workloads.get(item.name)
        status.components.add(
            name=item.name,
            kind=_WORKLOADS[item.kind],
            ready=found.ready if found else 0,
            desired=found.desired if found else 0,
            message="" if found else "it is not there",
        )
    for address in seen.addresses:
        status.addresses.add(role=address.role, host=address.host, ip=address.ip, port=address.port)
    for wish in document.certificates:
        secret = seen.secrets.get(wish.secret_name)
        if secret is not None and secret.certificate is not None:
            row = status.certificates.add(
                secret_name=wish.secret_name,
                profile=wish.profile,
                serial=secret.certificate.serial,
                dns_names=secret.certificate.dns_names,
            )
            row.not_after.FromDatetime(secret.certificate.not_after)
    status.tables.extend(_table(table, seen) for table in document.tables)
    for name, ip in sorted(seen.resolutions.items()):
        status.resolutions.add(name=name, ip=ip)
    _add_job(status, seen, memory)


def _table(table: Table, seen: ParticipantObserved) -> status_pb2.TableStatus:
    found = seen.tables.get(table.config_map)
    there = set(found.entries) if found is not None else set()
    wanted = set(table.entries)
    return status_pb2.TableStatus(
        kind=_TABLES[table.kind],
        config_map=table.config_map,
        matches=found is not None and not found.fault and there == wanted,
        entry_count=len(there),
        missing=sorted({item.key for item in wanted - there})[:_MAX_KEYS],
        unexpected=sorted({item.key for item in there - wanted})[:_MAX_KEYS],
        digest=found.digest if found is not None else "",
    )


def _add_probes(
    status: status_pb2.ResourceStatus, document: ParticipantDocument, told: StatusInputs
) -> None:
    routes = probed_routes(document, told.memory, told.timing)
    for probe in () if routes is None else routes.counted():
        row = status.probes.add(key=probe.key, state=_PROBES[probe.state], message=probe.message)
        row.at.FromDatetime(probe.at)


def _add_job(
    status: status_pb2.ResourceStatus, seen: ParticipantObserved, memory: ResourceState
) -> None:
    last = memory.last
    if last is None or not last.job_id:
        return
    job = seen.kubefate.job
    running = job is not None and job.job_id == last.job_id
    status.job.job_id = last.job_id
    status.job.method = last.method.value
    status.job.state = job.state.value if running and job is not None else (last.outcome or "")
    status.job.started_at.FromDatetime(last.begun_at)
