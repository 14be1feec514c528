"""The first schema: the hub's tables and the authority's ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "api_tokens",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("token_sha256", _TEXT, nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_api_tokens_token_sha256")),
    )
    op.create_table(
        "ca_authorities",
        sa.Column("authority_id", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("scope", _TEXT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("certificate_der", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("not_after", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("authority_id", name=op.f("pk_ca_authorities")),
        sa.UniqueConstraint("name", name=op.f("uq_ca_authorities_name")),
    )
    op.create_index(
        "uq_ca_authorities_active",
        "ca_authorities",
        ["purpose", "scope"],
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "ca_crl_numbers",
        sa.Column("issuer_id", _TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer_id", name=op.f("pk_ca_crl_numbers")),
    )
    op.create_table(
        "ca_issuances",
        sa.Column("serial", _TEXT, nullable=False),
        sa.Column("profile", _TEXT, nullable=False),
        sa.Column("issuer_id", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("spki_sha256", _TEXT, nullable=False),
        sa.Column("dns_names", sa.JSON(), nullable=False),
        sa.Column("requested_by", _TEXT, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("not_before", _TIME, nullable=False),
        sa.Column("not_after", _TIME, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("certificate_der", sa.LargeBinary(), nullable=True),
        sa.Column("failure", _TEXT, nullable=True),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.Column("revocation_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_ca_issuances")),
    )
    op.create_index(
        op.f("ix_ca_issuances_revoked_at_serial"),
        "ca_issuances",
        ["revoked_at", "serial"],
        unique=False,
    )
    op.create_index(
        "uq_ca_issuances_issued_key",
        "ca_issuances",
        ["spki_sha256"],
        unique=True,
        sqlite_where=sa.text("state = 'issued'"),
        postgresql_where=sa.text("state = 'issued'"),
    )
    op.create_table(
        "ca_keys",
        sa.Column("spki_sha256", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("spki_sha256", name=op.f("pk_ca_keys")),
    )
    op.create_table(
        "charts",
        sa.Column("sha256", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("version", _TEXT, nullable=False),
        sa.Column("app_version", _TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("uploaded_at", _TIME, nullable=False),
        sa.Column("uploaded_by", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_charts")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_charts_name_version")),
    )
    op.create_table(
        "events",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column("recorded_at", _TIME, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("severity", _TEXT, nullable=False),
        sa.Column("message", _TEXT, nullable=False),
        sa.Column("site_id", _TEXT, nullable=True),
        sa.Column("federation_id", _TEXT, nullable=True),
        sa.Column("resource_id", _TEXT, nullable=True),
        sa.Column("operation_id", _TEXT, nullable=True),
        sa.Column("actor", _TEXT, nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("agent_id", _TEXT, nullable=True),
        sa.Column("spool_id", _TEXT, nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint(
            "agent_id", "spool_id", "seq", name=op.f("uq_events_agent_id_spool_id_seq")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_events_federation_id_id"), "events", ["federation_id", "id"], unique=False
    )
    op.create_index(op.f("ix_events_kind_id"), "events", ["kind", "id"], unique=False)
    op.create_index(op.f("ix_events_resource_id_id"), "events", ["resource_id", "id"], unique=False)
    op.create_index(op.f("ix_events_site_id_id"), "events", ["site_id", "id"], unique=False)
    op.create_table(
        "federations",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("domain", _TEXT, nullable=False),
        sa.Column("release", _TEXT, nullable=False),
        sa.Column("intent", sa.JSON(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("removing", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_federations")),
        sa.UniqueConstraint("name", name=op.f("uq_federations_name")),
    )
    op.create_table(
        "hub_replicas",
        sa.Column("replica_id", _TEXT, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("replica_id", name=op.f("pk_hub_replicas")),
    )
    op.create_table(
        "hub_settings",
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hub_settings")),
    )
    op.create_table(
        "idempotent_answers",
        sa.Column("principal", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("request_sha256", _TEXT, nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("answered_at", _TIME, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("principal", "key", name=op.f("pk_idempotent_answers")),
    )
    op.create_index(
        op.f("ix_idempotent_answers_answered_at"),
        "idempotent_answers",
        ["answered_at"],
        unique=False,
    )
    op.create_table(
        "join_tokens",
        sa.Column("token_id", _TEXT, nullable=False),
        sa.Column("token_sha256", _TEXT, nullable=False),
        sa.Column("site_id", _TEXT, nullable=False),
        sa.Column("created_by", _TEXT, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("redeemed_at", _TIME, nullable=True),
        sa.Column("spki_sha256", _TEXT, nullable=True),
        sa.Column("agent_id", _TEXT, nullable=True),
        sa.Column("voided_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_join_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_join_tokens_token_sha256")),
    )
    op.create_index(op.f("ix_join_tokens_site_id"), "join_tokens", ["site_id"], unique=False)
    op.create_table(
        "operations",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("federation_id", _TEXT, nullable=True),
        sa.Column("requested_by", _TEXT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("message", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
    )
    op.create_index(
        op.f("ix_operations_created_at_id"), "operations", ["created_at", "id"], unique=False
    )
    op.create_index(
        op.f("ix_operations_federation_id_created_at"),
        "operations",
        ["federation_id", "created_at"],
        unique=False,
    )
    op.create_index(op.f("ix_operations_state"), "operations", ["state"], unique=False)
    op.create_table(
        "site_certificates",
        sa.Column("serial", _TEXT, nullable=False),
        sa.Column("profile", _TEXT, nullable=False),
        sa.Column("site_id", _TEXT, nullable=True),
        sa.Column("resource_id", _TEXT, nullable=True),
        sa.Column("secret_name", _TEXT, nullable=True),
        sa.Column("dns_names", sa.JSON(), nullable=False),
        sa.Column("not_before", _TIME, nullable=False),
        sa.Column("not_after", _TIME, nullable=False),
        sa.Column("issued_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.Column("superseded", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_site_certificates")),
    )
    op.create_index(
        op.f("ix_site_certificates_issued_at_serial"),
        "site_certificates",
        ["issued_at", "serial"],
        unique=False,
    )
    op.create_index(
        op.f("ix_site_certificates_not_after"), "site_certificates", ["not_after"], unique=False
    )
    op.create_index(
        op.f("ix_site_certificates_resource_id_secret_name"),
        "site_certificates",
        ["resource_id", "secret_name"],
        unique=False,
    )
    op.create_index(
        op.f("ix_site_certificates_site_id_profile"),
        "site_certificates",
        ["site_id", "profile"],
        unique=False,
    )
    op.create_table(
        "sites",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", _TIME, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("agent_id", _TEXT, nullable=True),
        sa.Column("cluster_uid", _TEXT, nullable=True),
        sa.Column("instance_id", _TEXT, nullable=True),
        sa.Column("agent_version", _TEXT, nullable=True),
        sa.Column("certificate_serial", _TEXT, nullable=True),
        sa.Column("kubernetes_version", _TEXT, nullable=True),
        sa.Column("node_count", sa.BigInteger(), nullable=True),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("last_seen_at", _TIME, nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("inventory", sa.JSON(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sites")),
        sa.UniqueConstraint("name", name=op.f("uq_sites_name")),
    )
    op.create_table(
        "spool_cursors",
        sa.Column("agent_id", _TEXT, nullable=False),
        sa.Column("spool_id", _TEXT, nullable=False),
        sa.Column("acked_through", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "spool_id", name=op.f("pk_spool_cursors")),
    )
    op.create_table(
        "agent_sessions",
        sa.Column("agent_id", _TEXT, nullable=False),
        sa.Column("site_id", _TEXT, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("session_id", _TEXT, nullable=False),
        sa.Column("replica_id", _TEXT, nullable=False),
        sa.Column("instance_id", _TEXT, nullable=False),
        sa.Column("cluster_uid", _TEXT, nullable=False),
        sa.Column("connected_at", _TIME, nullable=False),
        sa.Column("last_seen_at", _TIME, nullable=False),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"], ["sites.id"], name=op.f("fk_agent_sessions_site_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_agent_sessions")),
    )
    op.create_index(
        op.f("ix_agent_sessions_replica_id"), "agent_sessions", ["replica_id"], unique=False
    )
    op.create_index(op.f("ix_agent_sessions_site_id"), "agent_sessions", ["site_id"], unique=False)
    op.create_table(
        "chart_archives",
        sa.Column("sha256", _TEXT, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"], ["charts.sha256"], name=op.f("fk_chart_archives_sha256"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_chart_archives")),
    )
    op.create_table(
        "documents",
        sa.Column("resource_id", _TEXT, nullable=False),
        sa.Column("site_id", _TEXT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("absent", sa.Boolean(), nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("spec_bytes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"], ["sites.id"], name=op.f("fk_documents_site_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("resource_id", name=op.f("pk_documents")),
    )
    op.create_index(
        op.f("ix_documents_site_id_resource_id_generation"),
        "documents",
        ["site_id", "resource_id", "generation"],
        unique=False,
    )
    op.create_table(
        "endpoints",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("site_id", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("mode", _TEXT, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("removing", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_endpoints_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoints")),
        sa.UniqueConstraint("site_id", name=op.f("uq_endpoints_site_id")),
    )
    op.create_table(
        "operation_targets",
        sa.Column("operation_id", _TEXT, nullable=False),
        sa.Column("resource_id", _TEXT, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operations.id"],
            name=op.f("fk_operation_targets_operation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("operation_id", "resource_id", name=op.f("pk_operation_targets")),
    )
    op.create_index(
        op.f("ix_operation_targets_resource_id"), "operation_targets", ["resource_id"], unique=False
    )
    op.create_table(
        "participants",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("federation_id", _TEXT, nullable=False),
        sa.Column("site_id", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("party_id", sa.BigInteger(), nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("namespace", _TEXT, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("removing", sa.Boolean(), nullable=False),
        sa.Column("waiting_reason", _TEXT, nullable=True),
        sa.Column("waiting_message", _TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["federation_id"], ["federations.id"], name=op.f("fk_participants_federation_id")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_participants_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_participants")),
        sa.UniqueConstraint("site_id", "namespace", name=op.f("uq_participants_site_id_namespace")),
    )
    op.create_index(
        op.f("ix_participants_federation_id_party_id_id"),
        "participants",
        ["federation_id", "party_id", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_participants_name"), "participants", ["name"], unique=False)
    op.create_table(
        "statuses",
        sa.Column("resource_id", _TEXT, nullable=False),
        sa.Column("site_id", _TEXT, nullable=False),
        sa.Column("observed_generation", sa.BigInteger(), nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("message", _TEXT, nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("reported_at", _TIME, nullable=False),
        sa.Column("status", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"], ["sites.id"], name=op.f("fk_statuses_site_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("resource_id", name=op.f("pk_statuses")),
    )
    op.create_index(op.f("ix_statuses_site_id"), "statuses", ["site_id"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        # Archives are compressed already, and are read in slices: keep them as they are.
        op.execute("ALTER TABLE chart_archives ALTER COLUMN data SET STORAGE EXTERNAL")
