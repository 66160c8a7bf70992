"""Folding puts each block into the rollups once; what is read is the same before, between and after."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, delete, func, select, update
from sqlmodel import col

from fleet_server.db import reading, transaction
from fleet_server.health import folding, latest
from fleet_server.health.apply import HealthReport, apply_health
from fleet_server.health.folding import TABLES, count_unfolded, read_due, write_folded
from fleet_server.health.latest import FOLD_AFTER, FOLD_BLOCKS
from fleet_server.health.models import DeviceHealth, HealthBlock
from fleet_server.health.repository import HealthRepository
from fleet_server.health.rollups import Level
from fleet_server.health.service import Courses, HealthService
from fleet_server.kit.times import to_ms
from fleet_server.settings import HealthKept
from protocol.records import HealthColumns
from tests.support.health_blocks import fold_due

TENANT = "default"
DEVICES = ("d-terminal0000001", "d-terminal0000002")
METRICS = ("batt.level_pct", "sys.temp_c")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=2)
FOR_EVER = HealthKept(0, 0, 0, 0)


def report(device: str, seq: int, start_at: datetime, seed: int) -> HealthReport:
    dice = random.Random(seed)
    columns: dict[str, list[float | int | str | None]] = {
        metric: [dice.choice([None, round(dice.uniform(10, 90), 1)]) for _ in range(60)] for metric in METRICS
    }
    columns["sys.state"] = ["idle"] * 60
    body = HealthColumns(to_ms(start_at), 60_000, 60, columns)
    return HealthReport(device, "smart", device, "2" * 32, seq, start_at, body)


def reports(hours: int) -> list[HealthReport]:
    """Of two devices, some of them days late, two of the same time."""
    made = []
    for place, device in enumerate(DEVICES):
        for number in range(hours):
            start_at = NOON - timedelta(hours=number if number % 7 else 24 * number)
            made.append(report(device, number + 1, start_at, seed=100 * place + number))
        made.append(report(device, hours + 1, NOON, seed=100 * place + 99))
    return made


def apply(engine: Engine, *given: HealthReport) -> None:
    with transaction(engine) as session:
        apply_health(session, TENANT, given, LATER)


def fold(engine: Engine, now: datetime = LATER + FOLD_AFTER) -> int:
    return fold_due(engine, TENANT, now).blocks


def seen(engine: Engine) -> dict[tuple[str, Level], Courses]:
    """Courses of every device and level, as the service draws them."""
    found = {}
    with reading(engine) as session:
        service = HealthService(HealthRepository(session, TENANT), FOR_EVER)
        for device in DEVICES:
            for level, days, points in ((Level.FIVE_MINUTES, 20, 6000), (Level.HOUR, 20, 200), (Level.DAY, 20, 15)):
                courses = service.course(device, METRICS, NOON - timedelta(days=days), NOON + timedelta(days=1), points)
                found[device, level] = courses
    return found


def test_what_is_read_is_the_same_before_between_and_after_foldings(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "BLOCKS", 7)
    given = reports(12)
    random.Random(5).shuffle(given)
    apply(engine, *given)
    expected = seen(engine)
    assert all(course.extents for courses in expected.values() for course in courses.of.values())
    took: list[int] = []
    while not took or took[-1]:
        took.append(fold(engine))
        assert seen(engine) == expected
    assert sum(took) == len(given)


def test_a_block_that_comes_after_a_folding_is_added_to_what_is_there(engine: Engine) -> None:
    given = reports(9)
    for one in given:
        apply(engine, one)
        fold(engine)
    in_steps = seen(engine)
    with transaction(engine) as session:
        for table in (*TABLES.values(), HealthBlock.__table__, folding._HEALTH):  # type: ignore[attr-defined]  # SQLModel tables have it
            session.execute(table.delete())
    apply(engine, *given)
    assert seen(engine) == in_steps


def test_a_report_from_before_those_that_wait_is_folded_with_them(engine: Engine) -> None:
    given = [report(DEVICES[0], hour + 1, NOON - timedelta(hours=hour), hour) for hour in range(4)]
    for one in given:
        apply(engine, one)
    expected = seen(engine)
    assert fold(engine) == len(given)
    assert seen(engine) == expected
    hours = expected[DEVICES[0], Level.HOUR].of[METRICS[0]].extents
    measured = [value for one in given for value in one.body.columns[METRICS[0]] if value is not None]
    assert sum(extent.count for extent in hours) == len(measured)


def test_a_device_is_folded_after_some_hours_or_when_it_has_many_blocks(engine: Engine) -> None:
    apply(engine, report(DEVICES[0], 1, NOON, 1))
    assert fold(engine, LATER + FOLD_AFTER - timedelta(seconds=1)) == 0
    apply(engine, *(report(DEVICES[1], seq, NOON + timedelta(hours=seq), seq) for seq in range(FOLD_BLOCKS)))
    assert fold(engine, LATER) == FOLD_BLOCKS
    with reading(engine) as session:
        assert count_unfolded(session) == 1


def test_rows_are_one_a_span_however_often_they_are_folded(engine: Engine) -> None:
    for hour in range(30):
        apply(engine, report(DEVICES[0], hour + 1, NOON + timedelta(hours=hour), hour))
        fold(engine)
    with reading(engine) as session:
        counts = [session.execute(select(func.count()).select_from(table)).scalar() for table in TABLES.values()]
    # From noon on for 31 hours: two days; an hour's and a day's span are longer, and no span ends in between.
    assert counts == [2, 1, 1]


def test_a_damaged_block_is_left_out(engine: Engine) -> None:
    apply(engine, report(DEVICES[0], 1, NOON, 1), report(DEVICES[0], 2, NOON + timedelta(hours=1), 2))
    with transaction(engine) as session:
        first = select(func.min(HealthBlock.id))
        block = session.get_one(HealthBlock, session.execute(first).scalar())
        block.columns = b"\1damaged"
        session.add(block)
    assert fold(engine) == 2
    assert seen(engine)[DEVICES[0], Level.HOUR].of[METRICS[0]].points


def test_blocks_that_come_while_others_are_folded_are_folded_after_them(engine: Engine) -> None:
    given = reports(9)
    early, late = given[:12], given[12:]
    apply(engine, *early)
    with reading(engine) as session:
        due = read_due(session, TENANT, LATER + FOLD_AFTER)
    apply(engine, *late)
    expected = seen(engine)
    with transaction(engine) as session:
        assert write_folded(session, due, LATER + FOLD_AFTER).blocks == len(early)
    assert seen(engine) == expected
    left = (len(late), min(one.start_at for one in late), LATER + 2 * FOLD_AFTER)
    assert held(engine) == {DEVICES[0]: (0, None, None), DEVICES[1]: left}
    assert fold(engine) == 0
    assert fold(engine, LATER + 2 * FOLD_AFTER) == len(late)
    assert seen(engine) == expected


def test_many_blocks_that_come_while_others_are_folded_are_due_at_once(engine: Engine) -> None:
    apply(engine, report(DEVICES[0], 1, NOON, 1))
    with reading(engine) as session:
        due = read_due(session, TENANT, LATER + FOLD_AFTER)
    apply(engine, *(report(DEVICES[0], seq, NOON, seq) for seq in range(2, FOLD_BLOCKS + 2)))
    with transaction(engine) as session:
        write_folded(session, due, LATER + FOLD_AFTER)
    assert fold(engine) == FOLD_BLOCKS


def test_what_another_process_folded_meanwhile_is_not_folded_twice(engine: Engine) -> None:
    apply(engine, *reports(6))
    expected = seen(engine)
    with reading(engine) as session:
        due = read_due(session, TENANT, LATER + FOLD_AFTER)
    apply(engine, report(DEVICES[0], 50, NOON, 50))
    after = seen(engine)
    assert fold(engine) == 15
    with transaction(engine) as session:
        assert write_folded(session, due, LATER + FOLD_AFTER).blocks == 0
    assert (seen(engine), after != expected) == (after, True)


def test_a_device_that_was_removed_meanwhile_leaves_no_rollups(engine: Engine) -> None:
    apply(engine, *reports(6))
    with reading(engine) as session:
        due = read_due(session, TENANT, LATER + FOLD_AFTER)
    with transaction(engine) as session:
        session.execute(delete(DeviceHealth).where(col(DeviceHealth.device_id) == DEVICES[0]))
    with transaction(engine) as session:
        assert write_folded(session, due, LATER + FOLD_AFTER).blocks == 7
    with reading(engine) as session:
        for table in TABLES.values():
            assert set(session.execute(select(table.c.device_id)).scalars()) == {DEVICES[1]}


def test_reading_what_is_due_waits_for_no_writer(engine: Engine) -> None:
    apply(engine, *reports(6))
    with transaction(engine) as writer:
        latest.hold(writer, TENANT, set(DEVICES))
        with reading(engine) as session:
            assert sum(one.count for one in read_due(session, TENANT, LATER + FOLD_AFTER).devices.values()) == 14


def test_a_count_that_is_wrong_is_right_after_a_folding(engine: Engine) -> None:
    apply(engine, report(DEVICES[0], 1, NOON, 1))
    with transaction(engine) as session:
        session.execute(update(DeviceHealth).values(unfolded=5))
    assert fold(engine) == 1
    assert held(engine) == {DEVICES[0]: (0, None, None)}


def held(engine: Engine) -> dict[str, tuple[int, datetime | None, datetime | None]]:
    with reading(engine) as session:
        rows = session.execute(select(DeviceHealth)).scalars()
        return {row.device_id: (row.unfolded, row.unfolded_since, row.fold_at) for row in rows}
