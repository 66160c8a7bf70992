"""Facts of the installation that ingest reads and keeps: the database's epoch, the server key, workers' counters."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from math import inf
from typing import Any, ClassVar

import structlog
from sqlalchemy import Connection, select, update
from sqlalchemy import text as sql
from sqlmodel import Session

from fleet_server.devices.holding import hold_all
from fleet_server.devices.models import Device
from fleet_server.errors import FleetError
from fleet_server.ingest.models import ServerState
from fleet_server.kit import bulk
from fleet_server.kit.identifiers import hex128
from fleet_server.kit.times import text

_STATE = ServerState.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_DEVICE = Device.__table__  # type: ignore[attr-defined]  # as above
_EPOCH = "db_epoch"
# More commands than one device can have been sent, and more events than a fleet can have made, since what a database
# that went back still knows.
COUNTER_STEP = 1_000_000
EVENT_STEP = 1_000_000_000
# Where the log goes on is known from the moment of a promotion; the control file tells the old timeline until the first
# checkpoint is over. Anybody may ask both.
_HISTORY = (
    "SELECT (SELECT system_identifier FROM pg_control_system()), "
    "CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END"
)
_LEAP = (
    "SELECT setval(pg_get_serial_sequence('event', 'id'), "
    "(SELECT coalesce(max(id), 0) FROM event) + CAST(:step AS bigint))"
)
_WORKER = "ingest:"
# A worker writes every five seconds; one that was silent for longer than this is gone.
WORKER_LIVES = timedelta(seconds=20)
# Shorter than the first time after which a link sends again: what was lost with a worker that was heard of so lately is
# sent again while another one listens.
LISTENED_LATELY = timedelta(seconds=10)
_log = structlog.get_logger(__name__)


class NotPrimary(FleetError):
    """Nothing can be written here now; after a promotion it can."""

    code: ClassVar[str] = "database_not_primary"


def db_epoch(session: Session) -> str:
    """Random, made with the database: when it changes, agents send again what the database may have forgotten.

    Changes by itself when PostgreSQL's history is not the one that was known: a standby took over, which may have been
    behind. To be asked in each transaction that is acknowledged; a connection, whose server cannot change, answers from
    memory once it was seen to agree. Raises ``NotPrimary``.
    """
    connection = session.connection()
    confirmed: str | None = connection.info.get(_EPOCH)
    if confirmed is not None:
        return confirmed
    history = _history(connection)
    known = _known(session)
    if known is None:
        bulk.write(session, _STATE, [{"name": _EPOCH, "value": _fact(hex128(), history)}])
        return str((_known(session) or {})["epoch"])
    if history is None:
        return str(known["epoch"])
    if known.get("history") != history:
        # Not confirmed: this transaction may yet be rolled back.
        return _renew(session, history)
    connection.info[_EPOCH] = str(known["epoch"])
    return str(known["epoch"])


def _known(session: Session) -> dict[str, Any] | None:
    return session.execute(select(_STATE.c.value).where(_STATE.c.name == _EPOCH)).scalar_one_or_none()


def _fact(epoch: str, history: str | None) -> dict[str, Any]:
    return {"epoch": epoch} if history is None else {"epoch": epoch, "history": history}


def _history(connection: Connection) -> str | None:
    """The cluster and its timeline, which every promotion ends; None where there is no such thing (SQLite)."""
    if connection.dialect.name != "postgresql":
        return None
    cluster, file = connection.exec_driver_sql(_HISTORY).one()
    if file is None:
        raise NotPrimary("the database that answers is a standby: expected the primary, or a standby once promoted")
    return f"{cluster}/{file[:8]}"


def _renew(session: Session, history: str) -> str:
    """Of several processes that notice one renews, the others find it done. All devices are held first: this happens
    within a transaction that will hold some of them (`fleet_server.db`).
    """
    hold_all(session)
    row = select(_STATE.c.value).where(_STATE.c.name == _EPOCH).with_for_update()
    known: dict[str, Any] = session.execute(row).scalar_one()
    if known.get("history") == history:
        return str(known["epoch"])
    # A database that never noted its history was upgraded: nothing says that it went back.
    epoch = hex128() if "history" in known else str(known["epoch"])
    session.execute(update(_STATE).where(_STATE.c.name == _EPOCH).values(value=_fact(epoch, history)))
    if "history" in known:
        session.execute(update(_DEVICE).values(command_counter=_DEVICE.c.command_counter + COUNTER_STEP))
        session.execute(sql(_LEAP), {"step": EVENT_STEP})
        _log.warning("another server has become the database: agents send again", was=known["history"], now=history)
    return epoch


def save_worker(
    session: Session, worker: str, counters: Counter[str], listening_since: datetime | None, now: datetime
) -> None:
    """That a worker lives, since when it listens (None: it does not), and what it has counted since it started."""
    value = {"at": text(now), "listening_since": text(listening_since), "counters": dict(counters)}
    conflict = bulk.OnConflict(("name",), ("value",))
    bulk.write(session, _STATE, [{"name": f"{_WORKER}{worker}"[:40], "value": value}], conflict)


def listening_s(session: Session, now: datetime) -> float | None:
    """For how long at least one worker has been listening; None when none does. Unlimited where none ever lived."""
    states = list(_workers(session).values())
    if not states:
        return inf
    since = [
        datetime.fromisoformat(value["listening_since"])
        for value in states
        if value["listening_since"] and now - datetime.fromisoformat(value["at"]) < WORKER_LIVES
    ]
    return (now - min(since)).total_seconds() if since else None


def is_another_listening(session: Session, worker: str, now: datetime) -> bool:
    """Whether a worker other than this one has lately said that it listens."""
    return any(
        value["listening_since"] and now - datetime.fromisoformat(value["at"]) < LISTENED_LATELY
        for name, value in _workers(session).items()
        if name != worker
    )


def read_counters(session: Session) -> dict[str, Counter[str]]:
    """By worker."""
    return {name: Counter(value["counters"]) for name, value in _workers(session).items()}


def read_state(session: Session, name: str) -> dict[str, Any] | None:
    """A fact that another part of the server keeps here."""
    return session.execute(select(_STATE.c.value).where(_STATE.c.name == name)).scalar_one_or_none()


def save_state(session: Session, name: str, value: dict[str, Any]) -> None:
    bulk.write(session, _STATE, [{"name": name, "value": value}], bulk.OnConflict(("name",), ("value",)))


def _workers(session: Session) -> dict[str, dict[str, Any]]:
    rows = session.execute(select(_STATE.c.name, _STATE.c.value).where(_STATE.c.name.startswith(_WORKER)))
    return {name.removeprefix(_WORKER): value for name, value in rows}
