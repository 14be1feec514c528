"""Principals have ids: tokens get one, operations and events say whose they are by it.

Only adds: a hub of the version before works on this schema, and leaves the ids out. A token that
it stores has none and is unknown to this version, which takes its file up again at the next start.
``idempotent_answers.principal`` holds ids from now on; answers kept by name end within a day.
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns, give every token an id, and fill it in where its name stands."""
    op.add_column("api_tokens", sa.Column("id", _TEXT, nullable=True))
    op.create_index(op.f("ix_api_tokens_id"), "api_tokens", ["id"], unique=True)
    op.add_column("operations", sa.Column("requested_by_id", _TEXT, nullable=True))
    op.add_column("events", sa.Column("actor_id", _TEXT, nullable=True))
    tokens = sa.table("api_tokens", sa.column("id"), sa.column("name"))
    connection = op.get_bind()
    for (name,) in connection.execute(sa.select(tokens.c.name)).all():
        connection.execute(
            tokens.update().where(tokens.c.name == name).values(id=str(uuid.uuid4()))
        )
    op.execute(
        "UPDATE operations SET requested_by_id ="
        " (SELECT t.id FROM api_tokens t WHERE t.name = operations.requested_by)"
    )
    op.execute(
        "UPDATE events SET actor_id = (SELECT t.id FROM api_tokens t WHERE t.name = events.actor)"
        " WHERE actor IS NOT NULL"
    )


def downgrade() -> None:
    """Take the ids away again."""
    op.drop_column("events", "actor_id")
    op.drop_column("operations", "requested_by_id")
    op.drop_index(op.f("ix_api_tokens_id"), "api_tokens")
    op.drop_column("api_tokens", "id")
