"""only texts among texts

Nearly all newest values are numbers, and each stood in the index of texts as one that has none: a fourth of what a
terminal's first report writes to the table by which the fleet is searched.

Revision 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_value_interval_text", "value_interval")
    is_text = sa.text("text IS NOT NULL")
    op.create_index(
        "ix_value_interval_text",
        "value_interval",
        ["tenant_id", "metric", "text"],
        postgresql_where=is_text,
        sqlite_where=is_text,
    )
