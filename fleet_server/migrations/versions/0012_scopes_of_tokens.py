"""scopes of tokens

A program's token can be narrowed to some of what its role may. Tokens of before keep all of it.

Revision 0012, after 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_token", sa.Column("scopes", sa.JSON(none_as_null=True), nullable=True))
