"""What a site reports of a resource, in public form."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class ComponentView(BaseModel):
    """A workload."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    kind: str
    ready: int
    desired: int
    message: str


class AddressView(BaseModel):
    """An address that other participants need."""

    model_config = ConfigDict(from_attributes=True)

    role: str
    host: str
    ip: str
    port: int


class ReportedCertificateView(BaseModel):
    """A certificate as it lies in a Secret."""

    model_config = ConfigDict(from_attributes=True)

    secret_name: str
    profile: str
    serial: str
    not_after: datetime | None
    dns_names: list[str]


class TableView(BaseModel):
    """A route table as it stands in a ConfigMap."""

    model_config = ConfigDict(from_attributes=True)

    table: str
    config_map: str
    matches: bool
    entry_count: int
    missing: list[str]
    unexpected: list[str]
    digest: str


class ProbeView(BaseModel):
    """Whether a route was seen to work."""

    model_config = ConfigDict(from_attributes=True)

    key: str
    state: str
    message: str
    at: datetime | None


class JobView(BaseModel):
    """The KubeFATE job that runs or ran last."""

    model_config = ConfigDict(from_attributes=True)

    job_id: str
    method: str
    state: str
    started_at: datetime | None
