"""From 0002 with rows in its tables to health in columns: nothing of what was stored is lost."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from alembic.command import upgrade as alembic_upgrade
from sqlalchemy import Engine, column, insert, select, table
from sqlalchemy.types import DateTime

from fleet_server import migrate
from fleet_server.db import open_engine, reading
from fleet_server.health.models import HealthBlock, ValueInterval
from fleet_server.health.repository import HealthRepository
from fleet_server.health.service import HealthService, Newest
from fleet_server.settings import HealthKept
from tests.support.engines import postgres_url
from tests.support.health_blocks import fold_due, samples

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TENANT, DEVICE, OTHER = "default", "d-terminal0000001", "d-terminal0000002"
COLUMNS = {"batt.level_pct": [50, None, 52.5], "sys.state": ["idle", None, "busy"]}
MOMENT = DateTime(timezone=True)
BLOCK = table(
    "health_block",
    *map(column, ("tenant_id", "link_id", "stream", "seq", "device_id", "step_ms", "steps", "columns")),
    column("start_at", MOMENT),
    column("received_at", MOMENT),
)
LATEST = table(
    "latest_value",
    *map(column, ("device_id", "metric", "tenant_id", "number", "text", "is_abnormal")),
    column("at", MOMENT),
    column("crossed_at", MOMENT),
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def before(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database at 0002 with blocks and latest values of two devices."""
    if request.param == "sqlite":
        yield from _filled(f"sqlite:///{tmp_path}/old.db")
    else:
        with postgres_url(request.getfixturevalue("postgres_server"), "template1") as url:
            yield from _filled(url)


def _filled(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    with engine.begin() as connection:
        config = migrate.alembic_config()
        config.attributes["connection"] = connection
        alembic_upgrade(config, "0002")
        for seq in range(3):
            block = {
                "tenant_id": TENANT,
                "link_id": DEVICE,
                "stream": "2" * 32,
                "seq": seq + 1,
                "device_id": DEVICE,
                "start_at": NOON + timedelta(hours=seq),
                "step_ms": 60_000,
                "steps": 3,
                "columns": zlib.compress(msgspec.json.encode(COLUMNS), 1),
                "received_at": NOON,
            }
            connection.execute(insert(BLOCK), block)
        for device, metric, number, text, crossed in (
            (DEVICE, "batt.level_pct", 52.5, None, None),
            (DEVICE, "sys.state", None, "busy", None),
            (OTHER, "batt.level_pct", 7.0, None, NOON),
        ):
            row = {"device_id": device, "metric": metric, "tenant_id": TENANT, "number": number, "text": text}
            values = {**row, "is_abnormal": number == 7.0, "at": NOON, "crossed_at": crossed}
            connection.execute(insert(LATEST), values)
    try:
        yield engine
    finally:
        engine.dispose()


def test_blocks_and_latest_values_of_before_are_taken_over(before: Engine) -> None:
    assert migrate.upgrade(before)[0] == "0002"
    with reading(before) as session:
        blocks = session.execute(select(HealthBlock).order_by(HealthBlock.start_at)).scalars().all()  # type: ignore[arg-type]  # SQLModel types columns as their values
        assert [(one.seq, one.start_at, samples(one.columns)) for one in blocks] == [
            (seq + 1, NOON + timedelta(hours=seq), COLUMNS) for seq in range(3)
        ]
        service = HealthService(HealthRepository(session, TENANT))
        assert service.latest(DEVICE) == [
            Newest("batt.level_pct", NOON, 52.5, None),
            Newest("sys.state", NOON, None, "busy"),
        ]
        assert service.latest(OTHER) == [Newest("batt.level_pct", NOON, 7.0, None)]
        intervals = {(one.device_id, one.metric): one for one in session.execute(select(ValueInterval)).scalars()}
    low = intervals[OTHER, "batt.level_pct"]
    assert low.low is not None
    assert low.high is not None
    assert low.low <= 7 <= low.high
    assert intervals[DEVICE, "sys.state"].text == "busy"


def test_rollups_are_made_of_blocks_of_before(before: Engine) -> None:
    migrate.upgrade(before)
    assert fold_due(before, TENANT, NOON + timedelta(days=1)).blocks == 3
    with reading(before) as session:
        service = HealthService(HealthRepository(session, TENANT), HealthKept(0, 0, 0, 0))
        courses = service.course(DEVICE, ["batt.level_pct"], NOON, NOON + timedelta(days=1), 300)
    course = courses.of["batt.level_pct"]
    assert [value for _, value in course.points] == [51.25] * 3
    assert [(one.low, one.high, one.count) for one in course.extents] == [(50, 52.5, 2)] * 3
