"""What the store keeps, as frozen values: the tongue of store, fleet, services and planner."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fedcore.words import ParticipantKind, Phase
from fedhub.domain.phases import OperationState, SiteState
from fedproto.agent.v1 import document_pb2, status_pb2


class ResourceKind(StrEnum):
    """Kinds of resources that documents describe."""

    ENDPOINT = "Endpoint"
    PARTICIPANT = "Participant"


@dataclass(frozen=True, slots=True)
class Site:
    """One party's place: a Kubernetes cluster and its agent."""

    id: str
    name: str
    state: SiteState
    state_since: datetime
    created_at: datetime
    agent_id: str | None = None
    cluster_uid: str | None = None
    instance_id: str | None = None
    agent_version: str | None = None
    certificate_serial: str | None = None
    kubernetes_version: str | None = None
    node_count: int | None = None
    simulated: bool = False
    last_seen_at: datetime | None = None
    labels: dict[str, str] = field(default_factory=dict)
    inventory: dict[str, object] = field(default_factory=dict)
    findings: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A KubeFATE service at a site; one per site. Its id is its resource id."""

    id: str
    site_id: str
    name: str
    mode: str
    created_at: datetime
    removing: bool = False


@dataclass(frozen=True, slots=True)
class Federation:
    """A federation as stored: the intent as JSON, and how often it changed."""

    id: str
    name: str
    domain: str
    release: str
    intent: dict[str, object]
    revision: int
    created_at: datetime
    updated_at: datetime
    removing: bool = False


@dataclass(frozen=True, slots=True)
class Participant:
    """An exchange or a cluster of a federation. Its id is its resource id and outlives changes.

    ``key`` is ``exchange`` or the party id as text; ``removing``: intent no longer has it.
    """

    id: str
    federation_id: str
    site_id: str
    key: str
    role: ParticipantKind
    party_id: int
    name: str
    namespace: str
    created_at: datetime
    removing: bool = False
    waiting_reason: str | None = None
    waiting_message: str | None = None


Spec = document_pb2.ParticipantSpec | document_pb2.EndpointSpec


@dataclass(frozen=True, slots=True)
class PlannedDocument:
    """A document as the planner wants it, before it has a generation."""

    resource_id: str
    site_id: str
    kind: ResourceKind
    absent: bool
    spec: Spec
    digest: str


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as stored. ``spec_bytes`` is the serialized protobuf of ``kind``."""

    resource_id: str
    site_id: str
    kind: ResourceKind
    generation: int
    digest: str
    absent: bool
    spec_bytes: bytes
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """The latest report on a resource, with the columns that lists need."""

    resource_id: str
    site_id: str
    observed_generation: int
    digest: str
    phase: Phase
    reason: str
    message: str
    since: datetime
    reported_at: datetime
    status: status_pb2.ResourceStatus


@dataclass(frozen=True, slots=True)
class OperationTarget:
    """One resource and the generation that must be reached for the operation to succeed.

    ``name`` is the one that people use, kept for when the resource is gone.
    """

    resource_id: str
    generation: int
    done: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """The record people follow: who asked for what, and its outcome.

    ``requested_by`` is the name that the principal had then, ``requested_by_id`` its key.
    """

    id: str
    kind: str
    subject: str
    federation_id: str | None
    requested_by_id: str | None
    requested_by: str
    state: OperationState
    created_at: datetime
    ended_at: datetime | None
    message: str
    targets: tuple[OperationTarget, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an entity. ``id`` is the hub-wide order; 0 before it is stored."""

    id: int
    occurred_at: datetime
    recorded_at: datetime
    kind: str
    severity: str
    message: str
    site_id: str | None = None
    federation_id: str | None = None
    resource_id: str | None = None
    operation_id: str | None = None
    actor_id: str | None = None
    actor: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    spool_id: str | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """A Helm chart archive that the hub serves by its digest."""

    sha256: str
    name: str
    version: str
    app_version: str
    size_bytes: int
    uploaded_at: datetime
    uploaded_by: str


@dataclass(frozen=True, slots=True)
class SiteCertificate:
    """A certificate issued for something at a site, for lists."""

    serial: str
    profile: str
    site_id: str | None
    resource_id: str | None
    secret_name: str | None
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    revoked_at: datetime | None = None
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class AgentSession:
    """A live or past session of an agent. Writes made for it carry ``epoch``."""

    agent_id: str
    site_id: str
    epoch: int
    session_id: str
    replica_id: str
    instance_id: str
    cluster_uid: str
    connected_at: datetime
    last_seen_at: datetime
    connected: bool
