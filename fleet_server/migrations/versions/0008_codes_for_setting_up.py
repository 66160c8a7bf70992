"""codes for setting up

A new person chooses the first password with a code that is good once.

Revision 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("person", sa.Column("set_up_sha256", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("person", sa.Column("set_up_until", sa.DateTime(timezone=True), nullable=True))
