"""The tables. Column names equal the fields of the domain records that they hold.

Rows that outlive their subject (events, operations, certificates) have no foreign key to it.
The authority's tables are in ``ledger_tables``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fedcore.words import ParticipantKind, Phase
from fedhub.domain.models import ResourceKind
from fedhub.domain.phases import OperationState, SiteState
from fedsql.columns import EnumText, JsonTuple, PlainText, UtcDateTime


class Base(DeclarativeBase):
    """All tables of the hub; constraints have names, so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: PlainText,
        int: BigInteger,
        bytes: LargeBinary,
        datetime: UtcDateTime,
        dict[str, str]: JSON,
        dict[str, object]: JSON,
        tuple[str, ...]: JsonTuple,
        tuple[dict[str, str], ...]: JsonTuple,
    }


def table_of(mapped: type[Base]) -> Table:
    """Return the table of a mapped class.

    Statements are built on tables, not on classes: rows then never come from the session's
    identity map, which would show what was read before a lock was taken.
    """
    return cast("Table", mapped.__table__)


class SettingTable(Base):
    """Facts of the hub as a whole, such as its identity."""

    __tablename__ = "hub_settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class SiteTable(Base):
    """``records.Site``."""

    __tablename__ = "sites"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    state: Mapped[SiteState] = mapped_column(EnumText(SiteState))
    state_since: Mapped[datetime]
    created_at: Mapped[datetime]
    agent_id: Mapped[str | None]
    cluster_uid: Mapped[str | None]
    instance_id: Mapped[str | None]
    agent_version: Mapped[str | None]
    certificate_serial: Mapped[str | None]
    kubernetes_version: Mapped[str | None]
    node_count: Mapped[int | None]
    simulated: Mapped[bool]
    last_seen_at: Mapped[datetime | None]
    labels: Mapped[dict[str, str]]
    inventory: Mapped[dict[str, object]]
    findings: Mapped[tuple[dict[str, str], ...]]


class AgentSessionTable(Base):
    """``models.AgentSession``: one row per agent, whose epoch only rises."""

    __tablename__ = "agent_sessions"
    agent_id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id", ondelete="CASCADE"), index=True)
    epoch: Mapped[int]
    session_id: Mapped[str]
    replica_id: Mapped[str] = mapped_column(index=True)
    instance_id: Mapped[str]
    cluster_uid: Mapped[str]
    connected_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    connected: Mapped[bool]


class ReplicaTable(Base):
    """Hub processes that own sessions, and when each last said that it lives."""

    __tablename__ = "hub_replicas"
    replica_id: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class EndpointTable(Base):
    """``records.Endpoint``."""

    __tablename__ = "endpoints"
    id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id"), unique=True)
    name: Mapped[str]
    mode: Mapped[str]
    created_at: Mapped[datetime]
    removing: Mapped[bool]


class FederationTable(Base):
    """``records.Federation``."""

    __tablename__ = "federations"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    domain: Mapped[str]
    release: Mapped[str]
    intent: Mapped[dict[str, object]]
    revision: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    removing: Mapped[bool]


class ParticipantTable(Base):
    """``records.Participant``. A namespace at a site holds one; during a move two bear one name."""

    __tablename__ = "participants"
    __table_args__ = (
        UniqueConstraint("site_id", "namespace"),
        Index(None, "federation_id", "party_id", "id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    federation_id: Mapped[str] = mapped_column(ForeignKey("federations.id"))
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id"))
    key: Mapped[str]
    role: Mapped[ParticipantKind] = mapped_column(EnumText(ParticipantKind))
    party_id: Mapped[int]
    name: Mapped[str] = mapped_column(index=True)
    namespace: Mapped[str]
    created_at: Mapped[datetime]
    removing: Mapped[bool]
    waiting_reason: Mapped[str | None]
    waiting_message: Mapped[str | None]


class DocumentTable(Base):
    """``records.StoredDocument``. The index answers the notifier's poll without the rows."""

    __tablename__ = "documents"
    __table_args__ = (Index(None, "site_id", "resource_id", "generation"),)
    resource_id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id", ondelete="CASCADE"))
    kind: Mapped[ResourceKind] = mapped_column(EnumText(ResourceKind))
    generation: Mapped[int]
    digest: Mapped[str]
    absent: Mapped[bool]
    updated_at: Mapped[datetime]
    spec_bytes: Mapped[bytes]


class StatusTable(Base):
    """``records.StoredStatus``; ``status`` is the serialized protobuf, last for cheap lists."""

    __tablename__ = "statuses"
    resource_id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id", ondelete="CASCADE"), index=True)
    observed_generation: Mapped[int]
    digest: Mapped[str]
    phase: Mapped[Phase] = mapped_column(EnumText(Phase))
    reason: Mapped[str]
    message: Mapped[str]
    since: Mapped[datetime]
    reported_at: Mapped[datetime]
    status: Mapped[bytes]


class OperationTable(Base):
    """``records.Operation`` without its targets."""

    __tablename__ = "operations"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "state"),
        Index(None, "federation_id", "created_at"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject: Mapped[str]
    federation_id: Mapped[str | None]
    requested_by_id: Mapped[str | None]
    requested_by: Mapped[str]
    state: Mapped[OperationState] = mapped_column(EnumText(OperationState))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    message: Mapped[str]


class TargetTable(Base):
    """``records.OperationTarget`` of an operation; its name outlives the resource."""

    __tablename__ = "operation_targets"
    operation_id: Mapped[str] = mapped_column(
        ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True
    )
    resource_id: Mapped[str] = mapped_column(primary_key=True, index=True)
    generation: Mapped[int]
    done: Mapped[bool]
    name: Mapped[str | None] = mapped_column(index=True)


class EventTable(Base):
    """``records.Event`` and the agent that spooled it; kept for ever, ids never used again."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("agent_id", "spool_id", "seq"),
        Index(None, "site_id", "id"),
        Index(None, "federation_id", "id"),
        Index(None, "resource_id", "id"),
        Index(None, "kind", "id"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    kind: Mapped[str]
    severity: Mapped[str]
    message: Mapped[str]
    site_id: Mapped[str | None]
    federation_id: Mapped[str | None]
    resource_id: Mapped[str | None]
    operation_id: Mapped[str | None]
    actor_id: Mapped[str | None]
    actor: Mapped[str | None]
    facts: Mapped[dict[str, str]]
    agent_id: Mapped[str | None]
    spool_id: Mapped[str | None]
    seq: Mapped[int | None]


class SpoolCursorTable(Base):
    """How far the events of each spool are stored: what the hub has acknowledged."""

    __tablename__ = "spool_cursors"
    agent_id: Mapped[str] = mapped_column(primary_key=True)
    spool_id: Mapped[str] = mapped_column(primary_key=True)
    acked_through: Mapped[int]


class ChartTable(Base):
    """``records.Chart``."""

    __tablename__ = "charts"
    __table_args__ = (UniqueConstraint("name", "version"),)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[str]
    app_version: Mapped[str]
    size_bytes: Mapped[int]
    uploaded_at: Mapped[datetime]
    uploaded_by: Mapped[str]


class ArchiveTable(Base):
    """The bytes of a chart, apart from what lists read."""

    __tablename__ = "chart_archives"
    sha256: Mapped[str] = mapped_column(
        ForeignKey("charts.sha256", ondelete="CASCADE"), primary_key=True
    )
    data: Mapped[bytes]


class CertificateTable(Base):
    """``records.SiteCertificate``."""

    __tablename__ = "site_certificates"
    __table_args__ = (
        Index(None, "issued_at", "serial"),
        Index(None, "site_id", "profile"),
        Index(None, "resource_id", "secret_name"),
        Index(None, "not_after"),
    )
    serial: Mapped[str] = mapped_column(primary_key=True)
    profile: Mapped[str]
    site_id: Mapped[str | None]
    resource_id: Mapped[str | None]
    secret_name: Mapped[str | None]
    dns_names: Mapped[tuple[str, ...]]
    not_before: Mapped[datetime]
    not_after: Mapped[datetime]
    issued_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    superseded: Mapped[bool]


class TokenTable(Base):
    """API tokens; of the token only its SHA-256 is here. One without an id is unknown."""

    __tablename__ = "api_tokens"
    name: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str | None] = mapped_column(index=True, unique=True)
    token_sha256: Mapped[str] = mapped_column(unique=True)
    permissions: Mapped[tuple[str, ...]]


class AnswerTable(Base):
    """Answers to requests that bore an Idempotency-Key; ``principal`` is an id."""

    __tablename__ = "idempotent_answers"
    principal: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status: Mapped[int]
    headers: Mapped[dict[str, str]]
    answered_at: Mapped[datetime] = mapped_column(index=True)
    body: Mapped[bytes]
