"""A fleet's past, written straight into a database: the timeline of all devices over a year, and the samples of some.

The rows lie as years of ingest would leave them: in the order of time, with the entries of one device far from each
other. Timeline rows are made by the database itself in transactions of a million, without the table's secondary
indices, which are then made again from their own definitions. Rollups are folded from blocks by the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text, update

from fleet_server.db import transaction
from fleet_server.health import packing, partitions
from fleet_server.health.models import DeviceHealth, HealthBlock
from fleet_server.kit import bulk
from simulators.load.traffic import METRICS, expected
from tests.support.fleet_rows import TENANT
from tests.support.health_blocks import fold_due
from tests.support.health_rows import put_newest

YEAR = timedelta(days=365)
HEALTH_DAYS = 90
NEIGHBOURS_DAYS = 14
REPORT = timedelta(minutes=1)
STEP_MS = 10_000
STEPS = 6
_PIECE = 1_000_000
_BLOCKS_A_PIECE = 5000
_DIFFERENT = 300
_BLOCK = HealthBlock.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_HEALTH = DeviceHealth.__table__  # type: ignore[attr-defined]  # as above
_RAISED = '{"code": "term.PRN_NO_PAPER", "severity": "minor", "evidence": "", "fault": "0"}'
_CLEARED = '{"code": "term.PRN_NO_PAPER", "lasted_s": 90}'
_READING = '{"metrics": {"prn.paper_near_end": {"value": 0, "normal": true}}}'
_PRESENCE = '{"status": "online", "reason": "hello"}'
# Of twenty entries.
_MIX = (("fault_raised", _RAISED, 4), ("fault_cleared", _CLEARED, 8), ("presence", _PRESENCE, 9))


@dataclass(frozen=True, slots=True)
class Past:
    """``entries`` in the fleet's timeline, ``own`` of them of ``device``."""

    entries: int
    own: int
    device: str


def fill_timeline(engine: Engine, past: Past, until: datetime) -> None:
    with engine.connect() as link:
        _number_devices(link, past.device)
        count = link.execute(text("SELECT count(*) FROM known")).scalar_one()
        link.commit()
        with _without_indices(link):
            for first in range(0, past.entries, _PIECE):
                link.execute(
                    text(_statement(link, past, until)),
                    {"first": first, "last": min(first + _PIECE, past.entries) - 1, "others": max(count - 1, 1)},
                )
                link.commit()


def fill_health(engine: Engine, device: str, until: datetime) -> int:
    """The device's blocks of `HEALTH_DAYS`, one a minute, folded; how many."""
    since = until - timedelta(days=HEALTH_DAYS)
    _make_partitions(engine, since, until)
    pool = [_packed(number) for number in range(_DIFFERENT)]
    count = (until - since) // REPORT
    for first in range(0, count, _BLOCKS_A_PIECE):
        numbers = range(first, min(first + _BLOCKS_A_PIECE, count))
        with transaction(engine) as session:
            rows = [_block(device, number, since + number * REPORT, pool[number % _DIFFERENT]) for number in numbers]
            bulk.write(session, _BLOCK, rows)
    with transaction(engine) as session:
        put_newest(session, TENANT, device, {name: middle for name, middle, _ in METRICS}, until)
        due = {"unfolded_since": since, "unfolded": count, "fold_at": since}
        session.execute(update(_HEALTH).where(_HEALTH.c.device_id == device).values(**due))
    more = True
    while more:
        more = fold_due(engine, TENANT, until).more
    return int(count)


def fill_neighbours(engine: Engine, devices: Sequence[str], until: datetime) -> int:
    """A block an hour of each of the others, among which the device's own lie; how many."""
    packed = _packed(0)
    hours = NEIGHBOURS_DAYS * 24
    for hour in range(hours):
        at = until - timedelta(hours=hours - hour)
        with transaction(engine) as session:
            bulk.write(session, _BLOCK, [_block(device, hour, at, packed) for device in devices])
    return hours * len(devices)


def tidy(engine: Engine) -> None:
    """What PostgreSQL's own upkeep would have done within a year."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as link:
            link.execute(text("VACUUM (ANALYZE)"))


def _number_devices(link: Connection, own: str) -> None:
    """A table of this connection's own: each device under a number, ``own`` under -1."""
    link.execute(text("CREATE TEMPORARY TABLE known (n INTEGER PRIMARY KEY, id TEXT NOT NULL)"))
    link.execute(
        text(
            "INSERT INTO known SELECT row_number() OVER (ORDER BY id) - 1, id FROM device "
            "WHERE tenant_id = :tenant AND id <> :own"
        ),
        {"tenant": TENANT, "own": own},
    )
    link.execute(text("INSERT INTO known VALUES (-1, :own)"), {"own": own})


def _statement(link: Connection, past: Past, until: datetime) -> str:
    """A piece of the timeline; ``i`` numbers all of it in the order of time."""
    every = past.entries // past.own
    ms = int(YEAR / timedelta(milliseconds=1)) // past.entries
    since = until - YEAR
    if link.dialect.name == "postgresql":
        moment = f"TIMESTAMPTZ '{since.isoformat()}' + i * INTERVAL '{ms} milliseconds'"
        begin, numbers = "", "generate_series(CAST(:first AS int), CAST(:last AS int)) AS numbers(i)"
    else:
        ms_since = int(since.timestamp() * 1000)
        moment = f"strftime('%Y-%m-%d %H:%M:%f', ({ms_since} + i * {ms}) / 1000.0, 'unixepoch') || '000'"
        begin = "WITH RECURSIVE numbers(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM numbers WHERE i < :last) "
        numbers = "numbers"
    kind = f"((i + i / {every}) % 20)"
    types = " ".join(f"WHEN {kind} < {below} THEN '{name}'" for name, _, below in _MIX)
    data = " ".join(f"WHEN {kind} < {below} THEN '{value}'" for _, value, below in _MIX).replace(": ", "\\: ")
    reading = _READING.replace(": ", "\\: ")
    as_json = f"CAST(CASE {data} ELSE '{reading}' END AS json)"
    as_text = f"CASE {data} ELSE '{reading}' END"
    return (
        f"{begin}INSERT INTO event (tenant_id, device_id, type, at, received_at, actor, data) "  # noqa: S608 - numbers and constants of this file
        f"SELECT '{TENANT}', known.id, CASE {types} ELSE 'reading' END, {moment}, {moment}, '', "
        f"{as_json if link.dialect.name == 'postgresql' else as_text} "
        f"FROM {numbers} JOIN known ON known.n = "
        f"CASE WHEN i % {every} = 0 THEN -1 ELSE CAST(i AS bigint) * 7919 % :others END ORDER BY i"
    )


@contextmanager
def _without_indices(link: Connection) -> Iterator[None]:
    is_postgres = link.dialect.name == "postgresql"
    listed = (
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'event' AND indexname <> 'event_pkey'"
        if is_postgres
        else "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'event' AND sql IS NOT NULL"
    )
    made: list[tuple[str, str]] = [(name, definition) for name, definition in link.execute(text(listed))]
    if not made:
        raise AssertionError("expected the event table to have indices, came none")
    for name, _ in made:
        link.execute(text(f'DROP INDEX "{name}"'))
    link.commit()
    yield
    settings = ("SET maintenance_work_mem = '1GB'",) if is_postgres else ("PRAGMA cache_size = -1000000",)
    for statement in (*settings, *(definition for _, definition in made)):
        link.exec_driver_sql(statement)
    link.commit()


def _make_partitions(engine: Engine, since: datetime, until: datetime) -> None:
    """As the scheduler would have made them in time."""
    with transaction(engine) as session:
        if not partitions.has_partitions(session):
            return
    for kind in partitions.ALL:
        at = since - kind.period
        while at <= until:
            with transaction(engine) as session:
                partitions.make_ahead(session, kind, at)
            at += kind.period


def _packed(seed: int) -> bytes:
    at_ms = seed * STEPS * STEP_MS
    rows = {
        name: [expected(1, place, at_ms + step * STEP_MS, STEP_MS) for step in range(STEPS)]
        for place, (name, _, _) in enumerate(METRICS)
    }
    columns = {name: packing.measured(row) for name, row in rows.items()}
    return packing.pack({name: column for name, column in columns.items() if column is not None})


def _block(device: str, number: int, at: datetime, packed: bytes) -> dict[str, Any]:
    return {
        "tenant_id": TENANT,
        "link_id": device,
        "stream": "0" * 32,
        "seq": number + 1,
        "device_id": device,
        "start_at": at.astimezone(UTC),
        "step_ms": STEP_MS,
        "steps": STEPS,
        "columns": packed,
        "received_at": at.astimezone(UTC),
    }
