"""Which links' devices were taken out of service lately: for ingest, which remembers links.

What a link says that was taken out of service is a stranger's within seconds, and not when it is looked at again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from fleet_server.db import reading
from fleet_server.enrollment.models import Retirement

LOOK_EVERY_S = 2.0
# Longer than a transaction that retires a device takes to commit.
_LOOK_BACK = timedelta(seconds=60)
_RETIREMENT = Retirement.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_log = structlog.get_logger(__name__)


class RetiredWatch:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._looked_s = float("-inf")

    def look(self, now_s: float, now: datetime) -> set[str]:
        """Ids of links, of an attached device that of its gateway; none when it is not time to look yet."""
        if now_s - self._looked_s < LOOK_EVERY_S:
            return set()
        self._looked_s = now_s
        try:
            with reading(self._engine) as session:
                return _retired_since(session, now - _LOOK_BACK)
        except SQLAlchemyError as error:
            _log.warning("retired devices could not be looked for, trying again", error=str(error)[:300])
            return set()


def _retired_since(session: Session, since: datetime) -> set[str]:
    return set(session.execute(select(_RETIREMENT.c.link_id).where(_RETIREMENT.c.at > since)).scalars())
