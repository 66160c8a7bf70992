"""Streams of what is assigned. A request asks once what it may show; a stream lasts longer than an assignment may.

Invariant: nothing is handed on of a device that was not assigned when that was last asked, at most `LOOK_EVERY_S` ago.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final, Protocol, TypeVar

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from fleet_server.assignments.narrowing import assigned_ids
from fleet_server.databases import DatabaseAway
from fleet_server.db import reading
from fleet_server.kit.reach import Reach

LOOK_EVERY_S: Final = 2.0
_log = structlog.get_logger(__name__)


class OfDevice(Protocol):
    @property
    def device_id(self) -> str: ...


Item = TypeVar("Item", bound=OfDevice)


def of_assigned(engine: Engine, reach: Reach, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """``items``, without those of devices that ``reach`` does not see. It ends when that cannot be asked."""
    return items if reach.assignee is None else _of_assigned(engine, reach, items)


async def _of_assigned(engine: Engine, reach: Reach, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    seen: frozenset[str] = frozenset()
    asked_s = float("-inf")
    async for item in items:
        if time.monotonic() - asked_s > LOOK_EVERY_S:
            try:
                seen, asked_s = await asyncio.to_thread(_seen, engine, reach), time.monotonic()
            except (SQLAlchemyError, DatabaseAway) as error:
                _log.warning("what is assigned could not be asked, a stream ends", error=str(error)[:300])
                return
        if item.device_id in seen:
            yield item


def _seen(engine: Engine, reach: Reach) -> frozenset[str]:
    with reading(engine, reach) as session:
        return frozenset(assigned_ids(session))
