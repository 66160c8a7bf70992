"""Facts of the installation that ingest reads and keeps: the database's epoch, the server key, workers' counters."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlmodel import Session

from fleet_server.errors import FleetError
from fleet_server.ingest.models import ServerState
from fleet_server.kit import bulk
from fleet_server.kit.identifiers import hex128
from fleet_server.kit.times import text
from protocol.signing import SigningKey

_STATE = ServerState.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_EPOCH = "db_epoch"
_COUNTERS = "ingest:"


class ServerKeyUnreadable(FleetError):
    """Stops the start and names the file."""

    code = "server_key_unreadable"


def db_epoch(session: Session) -> str:
    """Random, made with the database: when it changes, agents send again what the database may have forgotten."""
    bulk.write(session, _STATE, [{"name": _EPOCH, "value": {"epoch": hex128()}}])
    value = session.execute(select(_STATE.c.value).where(_STATE.c.name == _EPOCH)).scalar_one()
    return str(value["epoch"])


def load_server_key(path: Path) -> SigningKey:
    """The key that signs acknowledgements, welcomes and flow. The file holds 64 hexadecimal digits."""
    try:
        return SigningKey.from_seed(bytes.fromhex(path.read_text("ascii").strip()))
    except (OSError, ValueError) as error:
        raise ServerKeyUnreadable(f"{path} cannot be read as a seed: expected 64 hexadecimal digits") from error


def save_counters(session: Session, worker: str, counters: Counter[str], now: datetime) -> None:
    """What a worker has counted since it started, for the metrics of every API process."""
    value = {"at": text(now), "counters": dict(counters)}
    conflict = bulk.OnConflict(("name",), ("value",))
    bulk.write(session, _STATE, [{"name": f"{_COUNTERS}{worker}"[:40], "value": value}], conflict)


def read_counters(session: Session) -> dict[str, Counter[str]]:
    """By worker."""
    rows = session.execute(select(_STATE.c.name, _STATE.c.value).where(_STATE.c.name.startswith(_COUNTERS)))
    return {name.removeprefix(_COUNTERS): Counter(value["counters"]) for name, value in rows}
