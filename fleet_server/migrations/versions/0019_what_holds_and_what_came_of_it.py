"""what holds an execution, and what came of it

Why it waits and since when it may begin, what somebody took upon themselves, what the device said to a wish to end it,
whose place it takes, and its result in one word. The database itself refuses an execution that goes on without a
deadline. Ends of before get their result from what is known of them.

Revision 0019, after 0018.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_RESULTS = """
UPDATE execution SET result = CASE
  WHEN state IN ('UNREACHABLE', 'TIMED_OUT') THEN 'no_answer'
  WHEN state IN ('UNKNOWN', 'INCONSISTENT') THEN 'not_told'
  WHEN state IN ('REJECTED', 'EXPIRED', 'CANCELLED', 'SUPERSEDED') THEN 'nothing_done'
  WHEN kind <> 'fix' AND state = 'SUCCEEDED' THEN 'ran'
  WHEN kind <> 'fix' THEN 'not_run'
  WHEN state = 'SUCCEEDED' THEN 'fixed'
  WHEN code = 'not_needed' THEN 'not_needed'
  WHEN code IN ('timed_out', 'interrupted', 'device_not_answering') THEN 'not_told'
  ELSE 'not_fixed'
END WHERE is_final
"""


def upgrade() -> None:
    op.execute("UPDATE execution SET deadline_at = queued_until WHERE NOT is_final AND deadline_at IS NULL")
    with op.batch_alter_table("execution") as table:
        table.add_column(sa.Column("override_holds", sa.Boolean(), server_default=sa.false(), nullable=False))
        table.add_column(sa.Column("supersedes", sa.String(length=36), nullable=True))
        table.add_column(sa.Column("result", sa.String(length=16), nullable=True))
        table.add_column(sa.Column("cancel_answer", sa.String(length=16), nullable=True))
        table.add_column(sa.Column("holds", sa.JSON(), server_default=sa.text("'[]'"), nullable=False))
        table.add_column(sa.Column("overridden", sa.JSON(), server_default=sa.text("'[]'"), nullable=False))
        table.add_column(sa.Column("earliest_start", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("retries", sa.Integer(), server_default=sa.text("0"), nullable=False))
        table.add_column(sa.Column("came_back_at", sa.DateTime(timezone=True), nullable=True))
        table.create_check_constraint("deadline_while_open", "is_final OR deadline_at IS NOT NULL")
        table.create_index("ix_execution_kind", ["tenant_id", "kind", "created_at"])
    op.execute(_RESULTS)
