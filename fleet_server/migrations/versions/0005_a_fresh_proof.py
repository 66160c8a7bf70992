"""a fresh proof

Approvals and work on keys need a person who has just shown that it is them. Sessions of before have not.

Revision 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("login_session", sa.Column("stepped_up_at", sa.DateTime(timezone=True), nullable=True))
