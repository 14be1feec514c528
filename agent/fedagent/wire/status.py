"""The status of one resource as the hub gets it, made of document, observation and decision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fedagent.domain.decision import Decision, Finding
from fedagent.domain.document import Document, ParticipantDocument, Table
from fedagent.domain.observed import ParticipantObserved, ServiceObserved
from fedagent.domain.policy import Policy, Telemetry
from fedagent.domain.route_probes import probed_routes
from fedagent.domain.stage import PlanSettings
from fedagent.domain.state import ResourceState, StepTimes
from fedcore.limits import MAX_TEXT_CHARS
from fedcore.words import StepState
from fedproto.agent.v1 import status_pb2
from fedproto.words import to_wire

_MAX_KEYS: Final = 50
_MAX_LEFTOVERS: Final = 100


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What a status is made of."""

    document: Document
    observed: ParticipantObserved | ServiceObserved
    state: ResourceState
    decision: Decision
    settings: PlanSettings
    now: datetime


def status_of(
    inputs: StatusInputs, before: status_pb2.ResourceStatus | None
) -> status_pb2.ResourceStatus:
    """Return the status; ``since`` is kept while phase and reason stay."""
    decision = inputs.decision
    status = status_pb2.ResourceStatus(
        resource_id=inputs.document.resource_id,
        observed_generation=inputs.document.generation,
        digest=inputs.document.digest,
        phase=to_wire(decision.phase),
        reason=decision.reason,
        message=decision.message[:MAX_TEXT_CHARS],
        leftovers=decision.leftovers[:_MAX_LEFTOVERS],
    )
    same = before is not None and (before.phase, before.reason) == (status.phase, status.reason)
    if before is not None and same:
        status.since.CopyFrom(before.since)
    else:
        status.since.FromDatetime(inputs.now)
    _add_steps(status, inputs)
    status.findings.extend(_findings(decision.findings, inputs.settings.policy))
    if isinstance(inputs.observed, ServiceObserved):
        _add_service(status, inputs.observed)
    elif isinstance(inputs.document, ParticipantDocument):
        _add_participant(status, inputs.document, inputs.observed)
        _add_probes(status, inputs.document, inputs)
        _add_job(status, inputs.observed, inputs.state)
    return status


def steps_after(
    decision: Decision, generation: int, state: ResourceState, now: datetime
) -> dict[str, StepTimes]:
    """Return when each step began and ended, after this decision.

    A step that waits again for one before it keeps its end, so that it is not told twice; one that
    runs again begins anew.
    """
    before = state.steps if state.steps_generation == generation else {}
    after: dict[str, StepTimes] = {}
    for step in decision.steps:
        times = before.get(step.name)
        has_ended = times is not None and times.ended_at is not None
        if step.state is StepState.PENDING:
            if times is not None and has_ended:
                after[step.name] = times
            continue
        started_at = now if times is None else times.started_at
        if step.state is StepState.DONE:
            ended_at = None if times is None else times.ended_at
            after[step.name] = StepTimes(started_at, ended_at or now)
        else:
            after[step.name] = StepTimes(now if has_ended else started_at)
    return after


def _add_steps(status: status_pb2.ResourceStatus, inputs: StatusInputs) -> None:
    state = inputs.state
    same_generation = state.steps_generation == inputs.document.generation
    for step in inputs.decision.steps:
        row = status.steps.add(name=step.name, state=to_wire(step.state), message=step.message)
        times = state.steps.get(step.name) if same_generation else None
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
    is_redacted = level is Telemetry.REDACTED
    withheld = "withheld by the site's policy"
    for finding in findings:
        yield status_pb2.Finding(
            code=finding.code,
            severity=to_wire(finding.severity),
            message=withheld if is_redacted else finding.message[:MAX_TEXT_CHARS],
            hint=finding.hint,
            object="" if is_redacted else finding.about,
        )


def _add_service(status: status_pb2.ResourceStatus, observed: ServiceObserved) -> None:
    status.endpoint.version = observed.version
    status.endpoint.adopted = observed.is_installed and observed.owner is None
    status.endpoint.access = observed.access


def _add_participant(
    status: status_pb2.ResourceStatus, document: ParticipantDocument, observed: ParticipantObserved
) -> None:
    for component in document.components:
        workload = observed.workloads.get(component.name)
        status.components.add(
            name=component.name,
            kind=to_wire(component.kind),
            ready=workload.ready if workload else 0,
            desired=workload.desired if workload else 0,
            message="" if workload else "it is not there",
        )
    for address in observed.addresses:
        status.addresses.add(role=address.role, host=address.host, ip=address.ip, port=address.port)
    for spec in document.certificates:
        secret = observed.secrets.get(spec.secret_name)
        if secret is not None and secret.certificate is not None:
            row = status.certificates.add(
                secret_name=spec.secret_name,
                profile=spec.profile,
                serial=secret.certificate.serial,
                dns_names=secret.certificate.dns_names,
            )
            row.not_after.FromDatetime(secret.certificate.not_after)
    status.tables.extend(_table(table, observed) for table in document.tables)
    for name, ip in sorted(observed.resolutions.items()):
        status.resolutions.add(name=name, ip=ip)


def _table(table: Table, observed: ParticipantObserved) -> status_pb2.TableStatus:
    view = observed.tables.get(table.config_map)
    actual = set(view.entries) if view is not None else set()
    desired = set(table.entries)
    return status_pb2.TableStatus(
        kind=to_wire(table.kind),
        config_map=table.config_map,
        matches=view is not None and not view.error and actual == desired,
        entry_count=len(actual),
        missing=sorted({entry.key for entry in desired - actual})[:_MAX_KEYS],
        unexpected=sorted({entry.key for entry in actual - desired})[:_MAX_KEYS],
        digest=view.digest if view is not None else "",
    )


def _add_probes(
    status: status_pb2.ResourceStatus, document: ParticipantDocument, inputs: StatusInputs
) -> None:
    routes = probed_routes(document, inputs.state, inputs.settings.timing)
    for probe in () if routes is None else routes.counted():
        row = status.probes.add(key=probe.key, state=to_wire(probe.state), message=probe.message)
        row.at.FromDatetime(probe.at)


def _add_job(
    status: status_pb2.ResourceStatus, observed: ParticipantObserved, state: ResourceState
) -> None:
    last = state.last
    if last is None or not last.job_id:
        return
    job = observed.kubefate.job
    is_current = job is not None and job.job_id == last.job_id
    status.job.job_id = last.job_id
    status.job.method = last.method.value
    status.job.state = job.state.value if job is not None and is_current else (last.outcome or "")
    status.job.started_at.FromDatetime(last.begun_at)
