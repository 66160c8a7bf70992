"""What the device door writes and nobody needs for ever: it is kept within bounds, by age or by number.

Records, events and health blocks are the fleet's memory: see `fleet_server.memory`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlmodel import Session

from fleet_server.devices.habit import LOOK_BACK
from fleet_server.devices.models import HeardHour
from fleet_server.ingest.dead_room import MAX_BYTES, MAX_LETTERS, MAX_LINK_BYTES
from fleet_server.ingest.models import DeadLetter

MAX_DEAD_PER_LINK = 1000
# Half of what a flush keeps at the most (`fleet_server.ingest.dead_room`): what comes next finds room.
MAX_DEAD_LINK_BYTES = MAX_LINK_BYTES // 2
MAX_DEAD_BYTES = MAX_BYTES // 2
MAX_DEAD = MAX_LETTERS // 2
DEAD_KEPT = timedelta(days=30)
_DEAD = DeadLetter.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_SIZE_BYTES = func.coalesce(func.sum(func.length(_DEAD.c.payload)), 0)
_HEARD = HeardHour.__table__  # type: ignore[attr-defined]  # as above


def trim(session: Session, tenant_id: str, now: datetime, tenants: int = 1) -> None:
    """For the scheduler, about each ten minutes: a device cannot fill the disk with letters that nobody can read, and a
    tenant cannot take the room of the others: of ``tenants`` each has its share.
    """
    connection = session.connection()
    connection.execute(delete(_DEAD).where(_DEAD.c.tenant_id == tenant_id, _DEAD.c.received_at < now - DEAD_KEPT))
    connection.execute(delete(_HEARD).where(_HEARD.c.tenant_id == tenant_id, _HEARD.c.hour_at < now - 2 * LOOK_BACK))
    talkative = (
        select(_DEAD.c.link_id)
        .where(_DEAD.c.tenant_id == tenant_id)
        .group_by(_DEAD.c.link_id)
        .having(or_(func.count() > MAX_DEAD_PER_LINK, _SIZE_BYTES > MAX_DEAD_LINK_BYTES))
    )
    for link_id in list(connection.execute(talkative).scalars()):
        of_link = (_DEAD.c.tenant_id == tenant_id, _DEAD.c.link_id == link_id)
        _keep_newest(session, MAX_DEAD_LINK_BYTES, MAX_DEAD_PER_LINK, of_link)
    ours = (_DEAD.c.tenant_id == tenant_id,)
    size_bytes, letters = connection.execute(select(_SIZE_BYTES, func.count()).where(*ours)).one()
    if size_bytes > MAX_DEAD_BYTES // tenants or letters > MAX_DEAD // tenants:
        _keep_newest(session, MAX_DEAD_BYTES // tenants, MAX_DEAD // tenants, ours)


def _keep_newest(session: Session, max_bytes: int, max_letters: int, where: tuple[ColumnElement[bool], ...]) -> None:
    """With all that is newer: how many bytes, and which place."""
    newest_first = {"order_by": _DEAD.c.id.desc(), "rows": (None, 0)}
    bytes_so_far = func.sum(func.length(_DEAD.c.payload)).over(**newest_first)
    place = func.row_number().over(order_by=_DEAD.c.id.desc())
    counted = select(_DEAD.c.id, bytes_so_far.label("bytes"), place.label("place")).where(*where).subquery()
    beyond = select(counted.c.id).where(or_(counted.c.bytes > max_bytes, counted.c.place > max_letters))
    session.connection().execute(delete(_DEAD).where(*where, _DEAD.c.id.in_(beyond)))
