"""What is forgotten, what never is, and how little at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Table, func, select
from sqlmodel import Session

from fleet_server import memory
from fleet_server.db import reading, transaction
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.health.models import HealthBlock
from fleet_server.ingest.models import StoredRecord
from fleet_server.kit import bulk
from fleet_server.scheduler import Scheduler
from fleet_server.timeline.models import Event
from fleet_server.timeline.writer import NewEvent, append_events
from protocol.records import FaultRaised, HealthColumns, Severity
from protocol.streams import StreamKind
from tests.fleet_server.executions.conftest import COMMAND_KEY, Broker
from tests.fleet_server.factories import settings
from tests.support.fleet_rows import OTHER, TENANT, TERMINAL, make_fleet
from tests.support.flush_rig import START, FlushRig
from tests.support.health_rows import newest_of
from tests.support.signing import local_signer

_RECORD = StoredRecord.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_BLOCK = HealthBlock.__table__  # type: ignore[attr-defined]  # as above
_EVENT = Event.__table__  # type: ignore[attr-defined]  # as above
DAY = timedelta(days=1)


def record(device: str, seq: int, age_days: float) -> dict[str, Any]:
    return {
        "link_id": device,
        "stream": "1" * 32,
        "seq": seq,
        "tenant_id": TENANT,
        "device_id": device,
        "kind": "verdict",
        "boot": "b" * 32,
        "mono_ms": 0,
        "wall_ms": 0,
        "received_at": START - age_days * DAY,
        "body": "{}",
    }


def block(device: str, seq: int, age_days: float) -> dict[str, Any]:
    return {
        "tenant_id": TENANT,
        "link_id": device,
        "stream": "2" * 32,
        "seq": seq,
        "device_id": device,
        "start_at": START - age_days * DAY,
        "step_ms": 1000,
        "steps": 1,
        "columns": b"",
        "received_at": START,
    }


def forget_blocks(session: Session, tenant_id: str, before: datetime, after: str = "", batch: int = 250) -> memory.Step:
    """As on SQLite, where all goes row by row."""
    return memory.forget_by_device(session, tenant_id, _BLOCK, _BLOCK.c.start_at, before, after, batch)


def store(engine: Engine, table: Table, rows: list[dict[str, Any]]) -> None:
    with transaction(engine) as session:
        bulk.write(session, table, rows)


def append(engine: Engine, *ages_days: float) -> list[int]:
    """Each recorded at its own moment, oldest first."""
    ids = []
    for age in ages_days:
        at = START - age * DAY
        with transaction(engine) as session:
            ids += append_events(session, TENANT, [NewEvent(TERMINAL, "note", at, {})], at)
    return ids


def left(engine: Engine, column: Any) -> list[Any]:
    with reading(engine) as session:
        return list(session.execute(select(column).order_by(column)).scalars())


def test_events_go_from_the_oldest_in_pieces_and_the_rest_stays(engine: Engine) -> None:
    ids = append(engine, 30, 20, 10, 1)
    pieces = []
    for _ in range(3):
        with transaction(engine) as session:
            pieces.append(memory.forget_events(session, START - 5 * DAY, batch=2))
    assert pieces == [2, 1, 0]
    assert left(engine, _EVENT.c.id) == ids[3:]


def test_the_newest_event_stays_so_that_ids_go_on_from_it(engine: Engine) -> None:
    ids = append(engine, 30, 20)
    with transaction(engine) as session:
        assert memory.forget_events(session, START) == 1
    assert append(engine, 1)[0] > ids[-1]


@pytest.mark.parametrize(
    ("table", "make", "forget"),
    [(_RECORD, record, memory.forget_records), (_BLOCK, block, forget_blocks)],
    ids=["records", "health blocks"],
)
def test_old_rows_of_every_device_go_in_pieces(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, table: Table, make: Any, forget: Any
) -> None:
    make_fleet(engine)
    ages = {TERMINAL: (9, 8, 7, 6, 1), OTHER: (9, 2)}
    store(engine, table, [make(id_, seq, age) for id_, old in ages.items() for seq, age in enumerate(old)])
    monkeypatch.setattr(memory, "_DEVICES", 2)
    pieces: list[int] = []
    after = ""
    while not pieces or after:
        with transaction(engine) as session:
            step = forget(session, TENANT, START - 5 * DAY, after, batch=3)
        pieces.append(step.forgotten)
        after = step.after
    assert (sum(pieces), max(pieces)) == (5, 3)
    assert Counter(left(engine, table.c.device_id)) == {TERMINAL: 1, OTHER: 1}


def test_rows_of_one_moment_go_together_however_many(engine: Engine) -> None:
    make_fleet(engine)
    store(engine, _RECORD, [record(TERMINAL, seq, 9) for seq in range(10)])
    with transaction(engine) as session:
        assert memory.forget_records(session, TENANT, START, batch=3).forgotten == 10


def test_another_tenants_records_are_not_touched(engine: Engine) -> None:
    make_fleet(engine)
    store(engine, _RECORD, [record(TERMINAL, 1, 9)])
    with transaction(engine) as session:
        assert memory.forget_records(session, "other", START).forgotten == 0


def test_what_was_forgotten_is_still_a_repetition_when_it_comes_again(engine: Engine) -> None:
    make_fleet(engine)
    rig = FlushRig(engine)
    fault = rig.batch(TERMINAL, 1, FaultRaised("term.x", Severity.MINOR, rig.wall_ms(), rig.wall_ms()))
    health = HealthColumns(rig.wall_ms(), 1000, 1, {"batt.level_pct": [50]})
    block_ = rig.batch(TERMINAL, 1, health, kind=StreamKind.BULK)
    rig.flush(fault, block_)
    with transaction(engine) as session:
        later = START + DAY
        steps = [forget(session, TENANT, later) for forget in (memory.forget_records, forget_blocks)]
    assert [step.forgotten for step in steps] == [1, 1]
    rig.pass_time(60)
    assert rig.flush(fault, block_).counters["repeated"] == 2
    assert left(engine, _RECORD.c.seq) == left(engine, _BLOCK.c.seq) == []
    with reading(engine) as session:
        assert list(newest_of(session, TERMINAL)) == ["batt.level_pct"]


@pytest.mark.parametrize(("kept_days", "remain"), [(5, 1), (0, 3)])
def test_the_scheduler_forgets_by_the_settings_a_piece_a_tick(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_days: int, remain: int
) -> None:
    monkeypatch.setattr(memory, "_DEVICES", 2)
    make_fleet(engine)
    append(engine, 9, 8, 1)
    store(engine, _RECORD, [record(TERMINAL, seq, age) for seq, age in enumerate((9, 8, 1))])
    store(engine, _BLOCK, [block(TERMINAL, seq, age) for seq, age in enumerate((9, 8, 1))])
    chosen = replace(
        settings(tmp_path), events_kept_days=kept_days, records_kept_days=kept_days, health_kept_days=kept_days
    )
    scheduler = Scheduler(engine, chosen, Dispatcher(local_signer(COMMAND_KEY, None)), Broker(), lambda: START)
    for _ in range(4):
        assert scheduler.tick()
    scheduler._leadership.give_up()
    with reading(engine) as session:
        counts = [session.execute(select(func.count()).select_from(table)).scalar() for table in (_RECORD, _BLOCK)]
        noted = session.execute(select(func.count()).where(_EVENT.c.type == "note")).scalar()
    assert [*counts, noted] == [remain] * 3
