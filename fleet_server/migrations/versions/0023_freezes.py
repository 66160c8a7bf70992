"""freezes

Spans of time in which nothing starts that is planned for many devices, and what is part of such a plan.

Revision 0023, after 0022.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "change_freeze",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("of_all", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("begins_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_by", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_change_freeze_tenant", "change_freeze", ["tenant_id", "ends_at"])
    op.create_index("ix_change_freeze_of_all", "change_freeze", ["of_all", "ends_at"])
    op.add_column("execution", sa.Column("is_planned", sa.Boolean(), server_default=sa.false(), nullable=False))
