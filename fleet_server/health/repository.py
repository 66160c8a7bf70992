"""Every reading query on the health of one device. Made for one tenant; never commits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, Select, and_, cast, literal, literal_column, or_, union_all
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from fleet_server.health.folding import TABLES
from fleet_server.health.models import DeviceHealth, HealthBlock
from fleet_server.health.rollups import Level
from fleet_server.kit.lookup import only_compared

Row = tuple[int, datetime, bytes]
# A block covers at most 120 steps of a day each; real ones end within the hour. Blocks that began this long before a
# range may still reach into it: those of a usual length only if they began `_USUAL_BLOCK` before. To read and unpack a
# whole day of them for a chart of an hour would cost most of a page's time.
_LONGEST_BLOCK = timedelta(days=1)
_USUAL_BLOCK = timedelta(hours=1)
_BLOCK = HealthBlock.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_HEALTH = DeviceHealth.__table__  # type: ignore[attr-defined]  # as above


@dataclass(frozen=True, slots=True)
class BlockRow:
    """What a chart needs of a block; whole rows of hundreds of blocks would cost most of a page's time."""

    start_at: datetime
    step_ms: int
    columns: bytes


@dataclass(frozen=True, slots=True)
class RolledUp:
    """At one moment: rows of a rollup, and the blocks that are not in it yet."""

    rows: list[bytes]
    unfolded: list[BlockRow]


class HealthRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def latest(self, device_id: str) -> str | None:
        """As in `fleet_server.health.latest`; None when it never reported."""
        statement = select(DeviceHealth.latest).where(
            col(DeviceHealth.device_id) == device_id, col(DeviceHealth.tenant_id) == self._tenant_id
        )
        return self._session.exec(statement).first()

    def latest_of(self, device_ids: Collection[str]) -> dict[str, str]:
        statement = select(DeviceHealth.device_id, DeviceHealth.latest).where(
            col(DeviceHealth.device_id).in_(sorted(device_ids)),
            only_compared(_HEALTH.c.tenant_id) == self._tenant_id,
        )
        return dict(self._session.exec(statement).all())

    def blocks(self, device_id: str, begin: datetime, end: datetime, limit: int) -> Sequence[BlockRow]:
        """The newest ``limit`` blocks that may hold samples of the range, oldest first."""
        statement = select(HealthBlock.start_at, HealthBlock.step_ms, HealthBlock.columns).where(
            col(HealthBlock.device_id) == device_id,
            col(HealthBlock.tenant_id) == self._tenant_id,
            *_may_reach(begin, end),
        )
        newest = self._session.exec(statement.order_by(col(HealthBlock.start_at).desc()).limit(limit)).all()
        return [BlockRow(*row) for row in newest[::-1]]

    def blocks_after(
        self, device_id: str, begin: datetime, end: datetime, after: tuple[datetime, int] | None, limit: int
    ) -> list[tuple[int, BlockRow]]:
        """A piece of what `blocks` finds, oldest first, with their ids; ``after``: moment and id of the last one."""
        order = (_BLOCK.c.start_at, _BLOCK.c.id)
        statement = sa_select(_BLOCK.c.id, _BLOCK.c.start_at, _BLOCK.c.step_ms, _BLOCK.c.columns).where(
            _BLOCK.c.device_id == device_id,
            _BLOCK.c.tenant_id == self._tenant_id,
            *_may_reach(begin, end),
        )
        if after is not None:
            at, id_ = after
            later = and_(_BLOCK.c.start_at == at, _BLOCK.c.id > id_)
            statement = statement.where(_BLOCK.c.start_at >= at, or_(_BLOCK.c.start_at > at, later))
        rows = self._session.execute(statement.order_by(*order).limit(limit))
        return [(id_, BlockRow(*row)) for id_, *row in rows]

    def rolled_up(self, device_id: str, level: Level, begin: datetime, end: datetime) -> RolledUp:
        """In one statement, so that a block that is folded meanwhile counts once."""
        found = RolledUp([], [])
        statement = union_all(self._rows(level, device_id, begin, end), self._unfolded(device_id, begin, end))
        for step_ms, at, packed in self._session.execute(statement):
            if step_ms:
                found.unfolded.append(BlockRow(at, step_ms, packed))
            else:
                found.rows.append(packed)
        return found

    def _rows(self, level: Level, device_id: str, begin: datetime, end: datetime) -> Select[Row]:
        table = TABLES[level]
        return sa_select(literal_column("0").label("step_ms"), table.c.span_at, table.c.packed).where(
            table.c.device_id == device_id,
            table.c.tenant_id == self._tenant_id,
            table.c.span_at > begin - timedelta(milliseconds=level.span_ms),
            table.c.span_at < end,
        )

    def _unfolded(self, device_id: str, begin: datetime, end: datetime) -> Select[Row]:
        belongs = and_(
            _BLOCK.c.device_id == literal(device_id),
            only_compared(_BLOCK.c.tenant_id) == self._tenant_id,
            _BLOCK.c.start_at >= _HEALTH.c.unfolded_since,
            _BLOCK.c.id > _HEALTH.c.folded_id,
        )
        return (
            sa_select(_BLOCK.c.step_ms, _BLOCK.c.start_at, _BLOCK.c.columns)
            .select_from(_HEALTH)
            .join(_BLOCK, belongs)
            .where(
                _HEALTH.c.device_id == device_id,
                _HEALTH.c.tenant_id == self._tenant_id,
                *_may_reach(begin, end),
            )
        )


def _may_reach(begin: datetime, end: datetime) -> tuple[ColumnElement[bool], ...]:
    """The first two alone walk the index."""
    length_ms = cast(_BLOCK.c.steps, BigInteger) * _BLOCK.c.step_ms
    return (
        _BLOCK.c.start_at >= begin - _LONGEST_BLOCK,
        _BLOCK.c.start_at < end,
        or_(_BLOCK.c.start_at >= begin - _USUAL_BLOCK, length_ms > _USUAL_BLOCK // timedelta(milliseconds=1)),
    )
