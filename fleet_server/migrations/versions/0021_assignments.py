"""assignments

Which devices a technician sees: a device or a site for a span of time.

Revision 0021, after 0020.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "assignment",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("assignee_id", sa.String(length=36), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=True),
        sa.Column("site_id", sa.String(length=64), nullable=True),
        sa.Column("begins_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(device_id IS NULL) <> (site_id IS NULL)", name="ck_assignment_of_one"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_assignment_assignee", "assignment", ["tenant_id", "assignee_id", "ends_at"])
    op.create_index("ix_assignment_device_id", "assignment", ["device_id"])
    op.create_index("ix_assignment_site_id", "assignment", ["site_id"])
