"""Operations keep the names of what they wait for, so that they are known when it is gone.

Only adds: a hub of the version before works on this schema, and leaves names out.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the column and its index, and fill in the names that are known."""
    op.add_column("operation_targets", sa.Column("name", _TEXT, nullable=True))
    op.execute(
        "UPDATE operation_targets SET name = coalesce("
        "(SELECT p.name FROM participants p WHERE p.id = operation_targets.resource_id),"
        " (SELECT 'endpoint/' || e.name FROM endpoints e"
        " WHERE e.id = operation_targets.resource_id))"
    )
    op.create_index(op.f("ix_operation_targets_name"), "operation_targets", ["name"])


def downgrade() -> None:
    """Take the names away again."""
    op.drop_index(op.f("ix_operation_targets_name"), "operation_targets")
    op.drop_column("operation_targets", "name")
