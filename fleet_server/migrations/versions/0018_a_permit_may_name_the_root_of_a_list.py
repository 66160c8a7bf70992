"""a permit may name the root of a list of devices

Revision 0018, after 0017.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("shift_permit", schema=None) as batch_op:
        batch_op.add_column(sa.Column("devices", sa.JSON(none_as_null=True), nullable=True))
