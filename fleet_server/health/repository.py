"""Every reading query on health samples. Made for one tenant; never commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from fleet_server.health.models import HealthBlock, LatestValue

# A block covers at most 120 steps of a day each; real ones end within the hour. Blocks that began this long before a
# range may still reach into it.
_LONGEST_BLOCK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class BlockRow:
    """What a chart needs of a block; whole rows of hundreds of blocks would cost most of a page's time."""

    start_at: datetime
    step_ms: int
    columns: bytes


class HealthRepository:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def latest(self, device_id: str) -> list[LatestValue]:
        statement = select(LatestValue).where(
            col(LatestValue.device_id) == device_id, col(LatestValue.tenant_id) == self._tenant_id
        )
        return list(self._session.exec(statement.order_by(col(LatestValue.metric))))

    def blocks(self, device_id: str, begin: datetime, end: datetime, limit: int) -> Sequence[BlockRow]:
        """The newest ``limit`` blocks that may hold samples of the range, oldest first."""
        statement = select(HealthBlock.start_at, HealthBlock.step_ms, HealthBlock.columns).where(
            col(HealthBlock.device_id) == device_id,
            col(HealthBlock.tenant_id) == self._tenant_id,
            col(HealthBlock.start_at) >= begin - _LONGEST_BLOCK,
            col(HealthBlock.start_at) < end,
        )
        newest = self._session.exec(statement.order_by(col(HealthBlock.start_at).desc()).limit(limit)).all()
        return [BlockRow(*row) for row in newest[::-1]]
