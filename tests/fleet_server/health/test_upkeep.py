"""Partitions are there before they are needed, and what is old goes, level by level."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, Table, func, select, text

from fleet_server.db import reading, transaction
from fleet_server.health import partitions, upkeep
from fleet_server.health.apply import HealthReport, apply_health
from fleet_server.health.folding import TABLES
from fleet_server.health.models import HealthBlock
from fleet_server.health.rollups import Level
from fleet_server.kit.times import to_ms
from fleet_server.settings import HealthKept
from protocol.records import HealthColumns
from tests.support.engines import postgres_engine
from tests.support.fleet_rows import TENANT, TERMINAL, make_fleet
from tests.support.health_blocks import fold_due
from tests.support.postgres import PostgresServer

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
BLOCK: Table = HealthBlock.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
KEPT = HealthKept(14, 60, 400, 1825)


def store(engine: Engine, *ages_days: float) -> None:
    reports = []
    for seq, age in enumerate(ages_days):
        start_at = NOW - age * DAY
        body = HealthColumns(to_ms(start_at), 60_000, 2, {"batt.level_pct": [50, 51]})
        reports.append(HealthReport(TERMINAL, "smart", TERMINAL, "2" * 32, seq + 1, start_at, body))
    with transaction(engine) as session:
        apply_health(session, TENANT, reports, NOW)


def fold(engine: Engine) -> None:
    fold_due(engine, TENANT, NOW + DAY)


def forget(engine: Engine) -> None:
    """As the scheduler does in some of its turns."""
    for one in upkeep.kept(KEPT):
        for _ in range(5):
            with transaction(engine) as session:
                upkeep.drop_partitions(session, one, NOW)
            with transaction(engine) as session:
                upkeep.forget(session, TENANT, one, NOW)


def ages(engine: Engine) -> list[float]:
    with reading(engine) as session:
        moments = session.execute(select(BLOCK.c.start_at).order_by(BLOCK.c.start_at)).scalars()
        return [(NOW - at) / DAY for at in moments]


def rows(engine: Engine, level: Level) -> int:
    with reading(engine) as session:
        return int(session.execute(select(func.count()).select_from(TABLES[level])).scalar_one())


def test_each_level_reaches_as_far_back_as_it_is_kept(engine: Engine) -> None:
    make_fleet(engine)
    store(engine, 3000, 1000, 100, 30, 1)
    fold(engine)
    forget(engine)
    assert ages(engine) == [1]
    # A row goes when all of its span of 288 buckets is too old; those of days 30 and 1 share one of days.
    assert [rows(engine, level) for level in Level] == [2, 3, 3]


def test_a_row_of_a_rollup_stays_until_the_last_of_its_span_is_old(engine: Engine) -> None:
    make_fleet(engine)
    # Its row began half a day before what is kept.
    store(engine, KEPT.five_minutes_days - 0.1)
    fold(engine)
    forget(engine)
    assert ages(engine) == []
    assert rows(engine, Level.FIVE_MINUTES) == 1


def test_what_is_in_no_rollup_yet_is_not_forgotten(engine: Engine) -> None:
    make_fleet(engine)
    store(engine, 30, 1)
    forget(engine)
    assert ages(engine) == [30, 1]
    fold(engine)
    forget(engine)
    assert ages(engine) == [1]


def test_nothing_is_forgotten_that_is_kept_for_ever(engine: Engine) -> None:
    make_fleet(engine)
    store(engine, 3000)
    fold(engine)
    for one in upkeep.kept(HealthKept(0, 0, 0, 0)):
        with transaction(engine) as session:
            assert not upkeep.drop_partitions(session, one, NOW)
            assert upkeep.forget(session, TENANT, one, NOW).forgotten == 0
    assert ages(engine) == [3000]


def names(engine: Engine, kind: partitions.Partitioned) -> list[str]:
    with reading(engine) as session:
        return [name for name, _ in partitions.existing(session, kind)]


def make(engine: Engine, now: datetime = NOW) -> None:
    with transaction(engine) as session:
        upkeep.make_partitions(session, now)


@pytest.fixture
def without_partitions(postgres_server: PostgresServer) -> Iterator[Engine]:
    """The database is shared with other tests."""
    with postgres_engine(postgres_server) as engine:
        with transaction(engine) as session:
            for kind in partitions.ALL:
                for name, _ in partitions.existing(session, kind):
                    session.execute(text(f'DROP TABLE {partitions.SCHEMA}."{name}"'))
        yield engine


@pytest.mark.postgres
def test_partitions_are_made_ahead_and_once(without_partitions: Engine) -> None:
    make(without_partitions)
    make(without_partitions)
    assert names(without_partitions, partitions.BLOCKS) == [f"health_block_2026030{day}" for day in range(2, 7)]
    for kind in partitions.ALL[1:]:
        assert len(names(without_partitions, kind)) == 2
    make(without_partitions, NOW + DAY)
    assert names(without_partitions, partitions.BLOCKS)[-1] == "health_block_20260307"


@pytest.mark.postgres
def test_rows_go_to_the_partition_of_their_day_and_it_is_dropped_whole(without_partitions: Engine) -> None:
    make_fleet(without_partitions)
    make(without_partitions, NOW - 20 * DAY)
    store(without_partitions, 19, 18, 1)
    with reading(without_partitions) as session:
        rest = session.execute(text("SELECT count(*) FROM health_parts.health_block_rest")).scalar()
    assert rest == 1
    fold(without_partitions)
    forget(without_partitions)
    assert ages(without_partitions) == [1]
    assert names(without_partitions, partitions.BLOCKS) == []


@pytest.mark.postgres
def test_a_partition_goes_only_when_all_of_its_time_is_old_and_rolled_up(without_partitions: Engine) -> None:
    make_fleet(without_partitions)
    make(without_partitions, NOW - 17 * DAY)
    store(without_partitions, 16.5, 15.5, 14.4, 13.5)
    forget(without_partitions)
    assert ages(without_partitions) == [16.5, 15.5, 14.4, 13.5], "nothing was rolled up yet"
    fold(without_partitions)
    forget(without_partitions)
    assert ages(without_partitions) == [14.4, 13.5], "half of the day of the first is not older than 14 days"
    assert names(without_partitions, partitions.BLOCKS) == ["health_block_20260216", "health_block_20260217"]


@pytest.mark.postgres
def test_a_partition_is_not_made_where_the_rest_has_rows_of_its_time(without_partitions: Engine) -> None:
    make_fleet(without_partitions)
    store(without_partitions, 0)
    make(without_partitions)
    assert names(without_partitions, partitions.BLOCKS)[0] == "health_block_20260303"
    assert ages(without_partitions) == [0]
