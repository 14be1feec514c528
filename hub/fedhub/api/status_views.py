"""What a site reports of a resource, in public form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel

from fedhub.api.sites import FindingView
from fedhub.fleet.ingest import SEVERITIES
from fedhub.services.routes import TABLE_NAMES, probe_word
from fedproto.agent.v1 import document_pb2, status_pb2


class ComponentView(BaseModel):
    """A workload."""

    name: str
    kind: str
    ready: int
    desired: int
    message: str


class AddressView(BaseModel):
    """An address that other participants need."""

    role: str
    host: str
    ip: str
    port: int


class ReportedCertificateView(BaseModel):
    """A certificate as it lies in a Secret."""

    secret_name: str
    profile: str
    serial: str
    not_after: datetime | None
    dns_names: list[str]


class TableView(BaseModel):
    """A route table as it stands in a ConfigMap."""

    table: str
    config_map: str
    matches: bool
    entry_count: int
    missing: list[str]
    unexpected: list[str]
    digest: str


class ProbeView(BaseModel):
    """Whether a route was seen to work."""

    key: str
    state: str
    message: str
    at: datetime | None


class JobView(BaseModel):
    """The KubeFATE job that runs or ran last."""

    job_id: str
    method: str
    state: str
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class Reported:
    """The parts of a status."""

    components: list[ComponentView]
    addresses: list[AddressView]
    certificates: list[ReportedCertificateView]
    tables: list[TableView]
    probes: list[ProbeView]
    findings: list[FindingView]
    job: JobView | None


def reported(status: status_pb2.ResourceStatus) -> Reported:
    """Turn a status into its public parts."""
    return Reported(
        components=[
            ComponentView(
                name=c.name,
                kind=_word(document_pb2.WorkloadKind.Name(c.kind), "WORKLOAD_KIND_"),
                ready=c.ready,
                desired=c.desired,
                message=c.message,
            )
            for c in status.components
        ],
        addresses=[
            AddressView(role=a.role, host=a.host, ip=a.ip, port=a.port) for a in status.addresses
        ],
        certificates=[
            ReportedCertificateView(
                secret_name=c.secret_name,
                profile=c.profile,
                serial=c.serial,
                not_after=moment(c.not_after) if c.HasField("not_after") else None,
                dns_names=list(c.dns_names),
            )
            for c in status.certificates
        ],
        tables=[_table(table) for table in status.tables],
        probes=[
            ProbeView(
                key=p.key,
                state=probe_word(p.state),
                message=p.message,
                at=moment(p.at) if p.HasField("at") else None,
            )
            for p in status.probes
        ],
        findings=[
            FindingView(
                code=f.code,
                severity=SEVERITIES.get(f.severity, "info"),
                message=f.message,
                hint=f.hint,
                object=f.object,
            )
            for f in status.findings
        ],
        job=_job(status),
    )


def _table(table: status_pb2.TableStatus) -> TableView:
    return TableView(
        table=TABLE_NAMES.get(table.kind, ""),
        config_map=table.config_map,
        matches=table.matches,
        entry_count=table.entry_count,
        missing=list(table.missing),
        unexpected=list(table.unexpected),
        digest=table.digest,
    )


def _job(status: status_pb2.ResourceStatus) -> JobView | None:
    if not status.HasField("job"):
        return None
    job = status.job
    started = moment(job.started_at) if job.HasField("started_at") else None
    return JobView(job_id=job.job_id, method=job.method, state=job.state, started_at=started)


def moment(stamp: Timestamp) -> datetime:
    """Turn a protobuf time into one with its zone."""
    return stamp.ToDatetime(UTC)


def _word(name: str, prefix: str) -> str:
    return "".join(part.capitalize() for part in name.removeprefix(prefix).split("_"))
