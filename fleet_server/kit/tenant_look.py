"""What every page says of a tenant, asked of the database at most every few seconds, whoever looks at how many pages.

While the database is away, what was known last is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Lock
from typing import Generic, TypeVar

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from fleet_server.databases import DatabaseAway
from fleet_server.db import reading

LOOK_EVERY_S = 5.0
Found = TypeVar("Found")
_log = structlog.get_logger(__name__)


class TenantLook(Generic[Found]):
    """``ask``: what there is of a tenant. ``what``: for the log, when it could not be asked."""

    def __init__(
        self,
        engine: Engine,
        ask: Callable[[Session, str, datetime], Sequence[Found]],
        what: str,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._engine = engine
        self._ask = ask
        self._what = what
        self._look_every_s = look_every_s
        self._known: dict[str, tuple[float, Sequence[Found]]] = {}
        self._lock = Lock()

    def known(self, tenant_id: str, now: datetime) -> Sequence[Found]:
        looked_s, known = self._known.get(tenant_id, (float("-inf"), ()))
        if time.monotonic() - looked_s >= self._look_every_s and self._lock.acquire(blocking=False):
            try:
                known = self._look(tenant_id, now, known)
            finally:
                self._lock.release()
        return known

    def look_again(self) -> None:
        """Something was changed: the next page asks."""
        self._known = {}

    def _look(self, tenant_id: str, now: datetime, known: Sequence[Found]) -> Sequence[Found]:
        try:
            with reading(self._engine, tenant_id) as session:
                known = self._ask(session, tenant_id, now)
        except (SQLAlchemyError, DatabaseAway) as error:
            _log.warning("what pages say of a tenant could not be asked", what=self._what, error=str(error)[:200])
        self._known[tenant_id] = (time.monotonic(), known)
        return known
