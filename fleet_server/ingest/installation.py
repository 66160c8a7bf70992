"""Facts of the installation that ingest reads and keeps: the database's epoch, the server key, workers' counters."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from math import inf
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from fleet_server.ingest.models import ServerState
from fleet_server.kit import bulk
from fleet_server.kit.identifiers import hex128
from fleet_server.kit.times import text

_STATE = ServerState.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_EPOCH = "db_epoch"
_WORKER = "ingest:"
# A worker writes every five seconds; one that was silent for longer than this is gone.
WORKER_LIVES = timedelta(seconds=20)


def db_epoch(session: Session) -> str:
    """Random, made with the database: when it changes, agents send again what the database may have forgotten."""
    bulk.write(session, _STATE, [{"name": _EPOCH, "value": {"epoch": hex128()}}])
    value = session.execute(select(_STATE.c.value).where(_STATE.c.name == _EPOCH)).scalar_one()
    return str(value["epoch"])


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


def read_counters(session: Session) -> dict[str, Counter[str]]:
    """By worker."""
    return {name: Counter(value["counters"]) for name, value in _workers(session).items()}


def _workers(session: Session) -> dict[str, dict[str, Any]]:
    rows = session.execute(select(_STATE.c.name, _STATE.c.value).where(_STATE.c.name.startswith(_WORKER)))
    return {name.removeprefix(_WORKER): value for name, value in rows}
