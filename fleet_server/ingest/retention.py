"""What the device door writes and nobody needs for ever: it is kept within bounds, by age or by number.

Records, events and health blocks are the fleet's memory: see `fleet_server.memory`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlmodel import Session

from fleet_server.devices.habit import LOOK_BACK
from fleet_server.devices.models import HeardHour
from fleet_server.ingest.models import DeadLetter

MAX_DEAD_PER_LINK = 1000
DEAD_KEPT = timedelta(days=30)
_DEAD = DeadLetter.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_HEARD = HeardHour.__table__  # type: ignore[attr-defined]  # as above


def trim(session: Session, tenant_id: str, now: datetime) -> None:
    """For the scheduler, about each ten minutes: a device cannot fill the disk with letters that nobody can read."""
    connection = session.connection()
    connection.execute(delete(_DEAD).where(_DEAD.c.tenant_id == tenant_id, _DEAD.c.received_at < now - DEAD_KEPT))
    connection.execute(delete(_HEARD).where(_HEARD.c.tenant_id == tenant_id, _HEARD.c.hour_at < now - 2 * LOOK_BACK))
    talkative = (
        select(_DEAD.c.link_id)
        .where(_DEAD.c.tenant_id == tenant_id)
        .group_by(_DEAD.c.link_id)
        .having(func.count() > MAX_DEAD_PER_LINK)
    )
    for link_id in list(connection.execute(talkative).scalars()):
        of_link = select(_DEAD.c.id).where(_DEAD.c.link_id == link_id)
        oldest_kept = of_link.order_by(_DEAD.c.id.desc()).limit(1).offset(MAX_DEAD_PER_LINK - 1).scalar_subquery()
        connection.execute(delete(_DEAD).where(_DEAD.c.link_id == link_id, _DEAD.c.id < oldest_kept))
