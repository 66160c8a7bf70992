"""visits

Operators of the installation look into another tenant: with a session, or with a token of their own.

Revision 0020, after 0019.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("login_session", sa.Column("visits", sa.String(length=64), nullable=True))
    op.add_column("api_token", sa.Column("is_visit", sa.Boolean(), nullable=False, server_default=sa.false()))
