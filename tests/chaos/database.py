"""Reads from the server's tables what came of the agents' records. Only reads; the checker decides.

An event or fault counts only when it is about a record that was made for the run: an agent's own faults come and go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from fleet_server.db import open_engine
from protocol.records import RecordBody, SpoolLost, Tombstone
from tests.chaos.checker import Row, Stored
from tests.chaos.marks import PREFIX, mark_of, mark_of_columns
from tests.support.health_blocks import samples

_bodies: msgspec.json.Decoder[RecordBody] = msgspec.json.Decoder(RecordBody)
_TOLD = {"fault_raised": "code", "fault_cleared": "code", "verdict": "evidence"}


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Raises `sqlalchemy.exc.DBAPIError` while the database is away."""
    engine = open_engine(url)
    try:
        # All of it as of one moment, which SQLite does by itself.
        moment = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
        with engine.execution_options(reads_only=True, **moment).connect() as connection:
            yield connection
    finally:
        engine.dispose()


def read_all(url: str) -> Stored:
    with _connected(url) as db:
        stored = _records(db)
        for link, reason in _rows(db, "SELECT link_id, reason FROM dead_letter"):
            stored.dead.append((link, reason))
        for device, type_, said in _events(db):
            what = str(said.get(_TOLD[type_], "")) if type_ in _TOLD else ""
            if what.startswith(PREFIX):
                stored.told[device, type_, what] += 1
        stored.gaps = _gaps(db)
        for device, code in _rows(db, "SELECT device_id, code FROM fault"):
            if code.startswith(PREFIX):
                stored.faults[device, code] += 1
        for link, stream, upto in _rows(db, "SELECT link_id, stream, upto FROM link_stream"):
            stored.watermarks[link, stream] = upto
        for id_, state in _rows(db, "SELECT id, state FROM execution WHERE NOT is_final"):
            stored.open_executions.append((id_, state))
    return stored


def read_promises(url: str) -> Stored:
    """Enough for the promises that hold in the midst of a run: the numbers that are there, without their words."""
    stored = Stored()
    with _connected(url) as db:
        for table in ("record", "health_block"):
            rows = _rows(db, f"SELECT link_id, stream, seq FROM {table}")  # noqa: S608  # ours
            stored.rows += [Row(link, stream, seq, mark="") for link, stream, seq in rows]
        stored.gaps = _gaps(db)
    return stored


def _events(db: Connection, where: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    for device, type_, data in _rows(db, f"SELECT device_id, type, data FROM event {where}"):  # noqa: S608  # ours
        yield device, type_, msgspec.json.decode(data) if isinstance(data, str) else data


def _gaps(db: Connection) -> list[tuple[str, str, int, int]]:
    gaps = [(link, said) for link, _, said in _events(db, "WHERE type = 'gap'") if said["state"] == "declared"]
    return [(link, said["stream"], said["first"], said["last"]) for link, said in gaps]


def _records(db: Connection) -> Stored:
    stored = Stored()
    for link, stream, seq, body in _rows(db, "SELECT link_id, stream, seq, body FROM record"):
        said = _bodies.decode(body)
        stored.rows.append(Row(link, stream, seq, mark_of(said)))
        if isinstance(said, Tombstone):
            stored.tombstones.append((link, said))
        elif isinstance(said, SpoolLost):
            stored.losses.append((link, said))
    for link, stream, seq, columns in _rows(db, "SELECT link_id, stream, seq, columns FROM health_block"):
        stored.rows.append(Row(link, stream, seq, mark_of_columns(samples(bytes(columns)))))
    return stored


def _rows(db: Connection, query: str) -> Sequence[Any]:
    return db.execute(text(query)).all()
