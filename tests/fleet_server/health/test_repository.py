"""Which blocks are read for a range: all that reach into it, and of those before it hardly any other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, update
from sqlmodel import col

from fleet_server.db import reading, transaction
from fleet_server.health.apply import HealthReport, apply_health
from fleet_server.health.models import HealthBlock
from fleet_server.health.repository import HealthRepository
from fleet_server.health.service import HealthService
from fleet_server.kit.times import to_ms
from protocol.records import HealthColumns

TENANT = "default"
DEVICE = "d-terminal0000001"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
METRIC = "sys.temp_c"


def apply(engine: Engine, begins: list[datetime], step: timedelta, steps: int) -> None:
    step_ms = step // timedelta(milliseconds=1)
    given = [
        HealthReport(
            DEVICE,
            "smart",
            DEVICE,
            "2" * 32,
            seq,
            at,
            HealthColumns(to_ms(at), step_ms, steps, {METRIC: [30.0 + step % 9 for step in range(steps)]}),
        )
        for seq, at in enumerate(begins, start=1)
    ]
    with transaction(engine) as session:
        apply_health(session, TENANT, given, NOON + timedelta(days=1))


@pytest.mark.parametrize(("step", "steps"), [(timedelta(minutes=15), 120), (timedelta(days=1), 120)])
def test_a_block_that_began_hours_before_the_range_is_read_when_it_reaches_into_it(
    engine: Engine, step: timedelta, steps: int
) -> None:
    apply(engine, [NOON - timedelta(hours=20)], step, steps)
    begin, end = NOON - timedelta(hours=1), NOON + timedelta(hours=5)
    with reading(engine) as session:
        found = HealthService(HealthRepository(session, TENANT)).range(DEVICE, [METRIC], begin, end)
    moments = [NOON - timedelta(hours=20) + place * step for place in range(steps)]
    assert [at for at, _ in found.get(METRIC, [])] == [at for at in moments if begin <= at < end]


def test_a_chart_of_an_hour_does_not_read_the_day_before(engine: Engine) -> None:
    begins = [NOON - timedelta(minutes=number) for number in range(1, 24 * 60)]
    apply(engine, begins, timedelta(seconds=10), 6)
    with reading(engine) as session:
        repository = HealthRepository(session, TENANT)
        blocks = repository.blocks(DEVICE, NOON - timedelta(hours=1), NOON, 2000)
        pieces = repository.blocks_after(DEVICE, NOON - timedelta(hours=1), NOON, None, 2000)
    assert len(blocks) == len(pieces) == 120
    assert blocks[0].start_at == NOON - timedelta(hours=2)


def test_a_damaged_block_is_left_out_of_a_chart(engine: Engine) -> None:
    apply(engine, [NOON - timedelta(minutes=number) for number in (1, 2)], timedelta(seconds=10), 6)
    with transaction(engine) as session:
        damaged = update(HealthBlock).where(col(HealthBlock.start_at) == NOON - timedelta(minutes=2))
        session.execute(damaged.values(columns=b"\x02 damaged"))
    with reading(engine) as session:
        found = HealthService(HealthRepository(session, TENANT)).range(
            DEVICE, [METRIC], NOON - timedelta(hours=1), NOON
        )
    assert [at for at, _ in found[METRIC]] == [NOON - timedelta(seconds=10 * number) for number in range(6, 0, -1)]
