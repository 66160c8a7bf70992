"""a second factor

Sessions of before were opened by a password alone, so they end.

Revision 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "recovery_code",
        sa.Column("id_sha256", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["person.id"]),
        sa.PrimaryKeyConstraint("id_sha256"),
    )
    op.create_index("ix_recovery_code_user_id", "recovery_code", ["user_id"])
    op.add_column("person", sa.Column("totp_sealed", sa.String(length=160), nullable=False, server_default=""))
    op.add_column("person", sa.Column("totp_new_sealed", sa.String(length=160), nullable=False, server_default=""))
    op.add_column("person", sa.Column("totp_step", sa.Integer(), nullable=False, server_default="0"))
    op.execute("DELETE FROM login_session")
    op.add_column("login_session", sa.Column("stage", sa.String(length=8), nullable=False, server_default="open"))
