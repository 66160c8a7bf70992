"""health in columns

Blocks of samples are partitioned by time on PostgreSQL and have rollups; what a device said last is one row, and the
fleet is searched by intervals. Blocks of before are taken over as they are, latest values are gathered by device.

Revision 0003, after 0002.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BLOCK_COLUMNS = "tenant_id, link_id, stream, seq, device_id, start_at, step_ms, steps, columns, received_at"
_ROLLUPS = ("health_5min", "health_hour", "health_day")
_PIECE = 1000


def upgrade() -> None:
    op.drop_index("ix_health_block_device", "health_block")
    op.rename_table("health_block", "health_block_before")
    if op.get_bind().dialect.name == "postgresql":
        _make_on_postgresql()
    else:
        _make_on_sqlite()
    op.create_index("ix_health_block_device", "health_block", ["device_id", "start_at"])
    _make_the_rest()
    op.execute(
        f"INSERT INTO health_block ({_BLOCK_COLUMNS}) SELECT {_BLOCK_COLUMNS} "  # noqa: S608 - our own columns
        "FROM health_block_before ORDER BY id"
    )
    op.drop_table("health_block_before")
    op.execute(
        "INSERT INTO device_health (device_id, tenant_id, latest, unfolded_since, unfolded, fold_at, folded_id) "
        "SELECT device_id, max(tenant_id), '{}', min(start_at), count(*), min(start_at), 0 FROM health_block "
        "GROUP BY device_id"
    )
    _gather_latest_values()
    op.drop_table("latest_value")


def _block_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("link_id", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step_ms", sa.Integer(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
    ]


def _make_on_sqlite() -> None:
    op.create_table("health_block", sa.Column("id", sa.Integer(), primary_key=True), *_block_columns())
    for name in _ROLLUPS:
        op.create_table(name, *_rollup_columns(), sa.PrimaryKeyConstraint("device_id", "span_at"))


def _make_on_postgresql() -> None:
    op.execute("CREATE SCHEMA health_parts")
    op.execute("CREATE SEQUENCE health_block_number_seq")
    number = sa.text("nextval('health_block_number_seq')")
    op.create_table(
        "health_block",
        sa.Column("id", sa.BigInteger(), server_default=number, autoincrement=False, nullable=False),
        *_block_columns(),
        postgresql_partition_by="RANGE (start_at)",
    )
    op.execute("ALTER SEQUENCE health_block_number_seq OWNED BY health_block.id")
    # Packed already: a second packing would cost every write and save little.
    op.execute("ALTER TABLE health_block ALTER COLUMN columns SET STORAGE EXTERNAL")
    for name in _ROLLUPS:
        key = sa.PrimaryKeyConstraint("device_id", "span_at")
        op.create_table(name, *_rollup_columns(), key, postgresql_partition_by="RANGE (span_at)")
    for name in ("health_block", *_ROLLUPS):
        op.execute(f"CREATE TABLE health_parts.{name}_rest PARTITION OF {name} DEFAULT")


def _rollup_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("span_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
    ]


def _make_the_rest() -> None:
    op.create_table(
        "device_health",
        sa.Column("latest", sa.Text(), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("unfolded_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unfolded", sa.Integer(), nullable=False),
        sa.Column("fold_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("folded_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("device_id"),
        # Room on each page for the row's next version: no index has to be told of it.
        postgresql_with={"fillfactor": "60"},
    )
    op.create_index("ix_device_health_fold", "device_health", ["tenant_id", "fold_at"])
    op.create_table(
        "value_interval",
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("text", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("device_id", "metric"),
    )
    for column in ("low", "high", "text"):
        op.create_index(f"ix_value_interval_{column}", "value_interval", ["tenant_id", "metric", column])


def _gather_latest_values() -> None:
    bind = op.get_bind()
    health = sa.table("device_health", *map(sa.column, ("device_id", "tenant_id", "latest", "unfolded", "folded_id")))
    known = set(bind.execute(sa.select(health.c.device_id)).scalars())
    for (device_id, tenant_id), rows in groupby(_latest_values(bind), lambda row: (row.device_id, row.tenant_id)):
        values = list(rows)
        latest = json.dumps({row.metric: _entry(row) for row in values})
        if device_id in known:
            bind.execute(sa.update(health).where(health.c.device_id == device_id).values(latest=latest))
        else:
            row = {"device_id": device_id, "tenant_id": tenant_id, "latest": latest, "unfolded": 0, "folded_id": 0}
            bind.execute(sa.insert(health), row)
        intervals = sa.table(
            "value_interval", *map(sa.column, ("device_id", "metric", "tenant_id", "low", "high", "text"))
        )
        bind.execute(sa.insert(intervals), [_interval(row) for row in values])


def _latest_values(bind: sa.Connection) -> Iterator[Any]:
    moment = sa.DateTime(timezone=True)
    table = sa.table(
        "latest_value",
        *map(sa.column, ("device_id", "metric", "tenant_id", "number", "text", "is_abnormal")),
        sa.column("at", moment),
        sa.column("crossed_at", moment),
    )
    # By pieces: the rows are read while others are written on the same connection.
    after: tuple[str, str] = ("", "")
    while True:
        key = (table.c.device_id, table.c.metric)
        statement = sa.select(table).where(sa.tuple_(*key) > sa.tuple_(*map(sa.literal, after))).order_by(*key)
        rows = bind.execute(statement.limit(_PIECE)).all()
        yield from rows
        if len(rows) < _PIECE:
            return
        after = (rows[-1].device_id, rows[-1].metric)


def _entry(row: Any) -> list[object]:
    low, high = _bounds(row.number)
    value = row.number if row.text is None else row.text
    abnormal = None if row.is_abnormal is None else bool(row.is_abnormal)
    return [_ms(row.at), value, abnormal, None if row.crossed_at is None else _ms(row.crossed_at), low, high]


def _interval(row: Any) -> dict[str, object]:
    low, high = _bounds(row.number)
    return {
        "device_id": row.device_id,
        "metric": row.metric,
        "tenant_id": row.tenant_id,
        "low": low,
        "high": high,
        "text": row.text,
    }


def _bounds(number: float | None) -> tuple[float | None, float | None]:
    return (None, None) if number is None else (number - abs(number) / 8, number + abs(number) / 8)


def _ms(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # SQLite's have none and mean UTC
    return int(aware.timestamp() * 1000)
