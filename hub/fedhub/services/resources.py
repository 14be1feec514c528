"""What is known of one resource, for people: its row, where it stands, its latest report.

REST shows these values as they are; the messages of the wire end here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Generic, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from fedcore.words import ProbeState, Severity, StepState, TableKind, WorkloadKind
from fedhub.domain.effective_status import EffectiveStatus, StatusInputs, effective_status
from fedhub.domain.models import Endpoint, Site, StoredDocument, StoredStatus
from fedhub.store.participants import ParticipantRow
from fedproto.agent.v1 import status_pb2
from fedproto.words import from_wire

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ResourceSummary(Generic[R]):
    """A row of a list and where it stands."""

    row: R
    status: EffectiveStatus


@dataclass(frozen=True, slots=True)
class ResourceDetail(Generic[R]):
    """All that is known of one resource."""

    row: R
    status: EffectiveStatus
    site: Site
    document: StoredDocument | None
    report: StoredStatus | None
    reported: ReportedState


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a resource's way to Ready."""

    name: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    message: str


@dataclass(frozen=True, slots=True)
class Component:
    """A workload."""

    name: str
    kind: str
    ready: int
    desired: int
    message: str


@dataclass(frozen=True, slots=True)
class Address:
    """An address that other participants need."""

    role: str
    host: str
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class DeployedCertificate:
    """A certificate as it lies in a Secret."""

    secret_name: str
    profile: str
    serial: str
    not_after: datetime | None
    dns_names: list[str]


@dataclass(frozen=True, slots=True)
class DeployedTable:
    """A route table as it stands in a ConfigMap."""

    table: str
    config_map: str
    matches: bool
    entry_count: int
    missing: list[str]
    unexpected: list[str]
    digest: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a route was seen to work."""

    key: str
    state: str
    message: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A named cause with the next act."""

    code: str
    severity: str
    message: str
    hint: str
    object: str


@dataclass(frozen=True, slots=True)
class Job:
    """The KubeFATE job that runs or ran last."""

    job_id: str
    method: str
    state: str
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class KubeFateService:
    """The KubeFATE service of an endpoint; empty for a participant."""

    version: str
    adopted: bool
    access: str


@dataclass(frozen=True, slots=True)
class ReportedState:
    """What a site reports of a resource; all empty before its first report."""

    steps: tuple[Step, ...]
    components: tuple[Component, ...]
    addresses: tuple[Address, ...]
    certificates: tuple[DeployedCertificate, ...]
    tables: tuple[DeployedTable, ...]
    probes: tuple[Probe, ...]
    findings: tuple[Finding, ...]
    job: Job | None
    leftovers: tuple[str, ...]
    service: KubeFateService

    @classmethod
    def of(cls, status: status_pb2.ResourceStatus) -> ReportedState:
        """Read a status of the wire."""
        return cls(
            steps=steps_of(status),
            components=tuple(
                Component(
                    name=component.name,
                    kind=_text(from_wire(WorkloadKind, component.kind)),
                    ready=component.ready,
                    desired=component.desired,
                    message=component.message,
                )
                for component in status.components
            ),
            addresses=tuple(
                Address(address.role, address.host, address.ip, address.port)
                for address in status.addresses
            ),
            certificates=tuple(
                DeployedCertificate(
                    secret_name=certificate.secret_name,
                    profile=certificate.profile,
                    serial=certificate.serial,
                    not_after=_time(
                        certificate.not_after, is_set=certificate.HasField("not_after")
                    ),
                    dns_names=list(certificate.dns_names),
                )
                for certificate in status.certificates
            ),
            tables=tuple(_table(table) for table in status.tables),
            probes=probes_of(status.probes),
            findings=tuple(
                Finding(
                    code=finding.code,
                    severity=from_wire(Severity, finding.severity) or Severity.INFO,
                    message=finding.message,
                    hint=finding.hint,
                    object=finding.object,
                )
                for finding in status.findings
            ),
            job=_job(status),
            leftovers=tuple(status.leftovers),
            service=KubeFateService(
                status.endpoint.version, status.endpoint.adopted, status.endpoint.access
            ),
        )


def participant_detail(
    row: ParticipantRow,
    site: Site,
    document: StoredDocument | None,
    report: StoredStatus | None,
) -> ResourceDetail[ParticipantRow]:
    """Put together what is known of a participant."""
    return ResourceDetail(
        row=row,
        status=participant_status(row),
        site=site,
        document=document,
        report=report,
        reported=_reported(report),
    )


def endpoint_detail(
    endpoint: Endpoint, site: Site, document: StoredDocument | None, report: StoredStatus | None
) -> ResourceDetail[Endpoint]:
    """Put together what is known of an endpoint."""
    status = effective_status(
        StatusInputs(
            site=site.name,
            site_state=site.state,
            created_at=endpoint.created_at,
            removing=endpoint.removing,
            waiting_reason=None,
            waiting_message=None,
            generation=document.generation if document is not None else None,
            phase=report.phase if report is not None else None,
            reason=report.reason if report is not None else None,
            message=report.message if report is not None else None,
            since=report.since if report is not None else None,
            observed_generation=report.observed_generation if report is not None else None,
            reported_at=report.reported_at if report is not None else None,
        )
    )
    return ResourceDetail(
        row=endpoint,
        status=status,
        site=site,
        document=document,
        report=report,
        reported=_reported(report),
    )


def participant_status(row: ParticipantRow) -> EffectiveStatus:
    """Decide where a participant stands; ``store.effective_phase`` filters by the same rules."""
    return effective_status(
        StatusInputs(
            site=row.site,
            site_state=row.site_state,
            created_at=row.created_at,
            removing=row.removing,
            waiting_reason=row.waiting_reason,
            waiting_message=row.waiting_message,
            generation=row.generation,
            phase=row.phase,
            reason=row.reason,
            message=row.message,
            since=row.since,
            observed_generation=row.observed_generation,
            reported_at=row.reported_at,
        )
    )


def steps_of(status: status_pb2.ResourceStatus) -> tuple[Step, ...]:
    """Read the steps of a status."""
    return tuple(
        Step(
            name=step.name,
            state=_text(from_wire(StepState, step.state)),
            started_at=_time(step.started_at, is_set=step.HasField("started_at")),
            ended_at=_time(step.ended_at, is_set=step.HasField("ended_at")),
            message=step.message,
        )
        for step in status.steps
    )


def probes_of(probes: Iterable[status_pb2.RouteProbe]) -> tuple[Probe, ...]:
    """Read what probes of routes showed."""
    return tuple(
        Probe(
            key=probe.key,
            state=_text(from_wire(ProbeState, probe.state)),
            message=probe.message,
            at=_time(probe.at, is_set=probe.HasField("at")),
        )
        for probe in probes
    )


def _reported(report: StoredStatus | None) -> ReportedState:
    return ReportedState.of(report.status if report is not None else status_pb2.ResourceStatus())


def _table(table: status_pb2.TableStatus) -> DeployedTable:
    return DeployedTable(
        table=_text(from_wire(TableKind, table.kind)),
        config_map=table.config_map,
        matches=table.matches,
        entry_count=table.entry_count,
        missing=list(table.missing),
        unexpected=list(table.unexpected),
        digest=table.digest,
    )


def _job(status: status_pb2.ResourceStatus) -> Job | None:
    if not status.HasField("job"):
        return None
    job = status.job
    started_at = _time(job.started_at, is_set=job.HasField("started_at"))
    return Job(job.job_id, job.method, job.state, started_at)


def _time(stamp: Timestamp, *, is_set: bool) -> datetime | None:
    return stamp.ToDatetime(UTC) if is_set else None


def _text(word: StrEnum | None) -> str:
    """Return a word of the wire; empty where it is unset, or of a newer agent."""
    return "" if word is None else word.value
