"""Which faults belong to a period: what was open at some time of it, and no other device's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from fleet_server.db import reading, transaction
from fleet_server.faults import service
from fleet_server.faults.models import Fault
from fleet_server.faults.repository import FaultRepository
from fleet_server.faults.service import FaultService
from fleet_server.kit.times import to_ms

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEVICE = "d-terminal0000001"


def add(engine: Engine, name: str, begin: float, end: float | None, *, device: str = DEVICE, tenant: str = "t") -> None:
    raised_at = NOON + begin * HOUR
    with transaction(engine) as session:
        session.add(
            Fault(
                id=f"f-{name}",
                tenant_id=tenant,
                device_id=device,
                code="term.PRN_NO_PAPER",
                severity="major",
                raised_ms=to_ms(raised_at),
                raised_at=raised_at,
                last_seen_at=raised_at,
                cleared_at=None if end is None else NOON + end * HOUR,
                is_open=end is None,
            )
        )


def found(engine: Engine, begin: float, end: float) -> list[str]:
    with reading(engine) as session:
        faults = FaultService(FaultRepository(session, "t")).of_period(DEVICE, NOON + begin * HOUR, NOON + end * HOUR)
        return [fault.id for fault in faults]


def test_what_was_open_in_the_period_belongs_to_it_newest_first(engine: Engine) -> None:
    add(engine, "before", -5, -4)
    add(engine, "into", -3, 1)
    add(engine, "within", 1, 2)
    add(engine, "beyond", 3, 9)
    add(engine, "still", -100, None)
    add(engine, "later", 6, None)
    add(engine, "other", 1, 2, device="d-other00000001")
    add(engine, "foreign", 1.5, 2, tenant="u")
    assert found(engine, 0, 5) == ["f-beyond", "f-within", "f-into", "f-still"]
    assert found(engine, -5, -4) == ["f-before", "f-still"]


def test_a_period_has_no_more_faults_than_a_page_bears(engine: Engine) -> None:
    for number in range(service.MAX_OF_PERIOD + 5):
        add(engine, f"{number:03d}", number / 60, number / 60 + 0.01)
    newest = service.MAX_OF_PERIOD + 4
    assert found(engine, 0, 5) == [f"f-{newest - place:03d}" for place in range(service.MAX_OF_PERIOD)]


def test_a_code_that_came_three_times_in_ten_minutes_comes_and_goes(engine: Engine) -> None:
    minute = 1 / 60
    for number, begin in enumerate((-30, -9, -5, -1)):
        add(engine, f"{number}", begin * minute, None if begin == -1 else (begin + 1) * minute)
    add(engine, "other", -2 * minute, -minute, device="d-other00000001")
    add(engine, "foreign", -2 * minute, -minute, tenant="u")
    with reading(engine) as session:
        faults = FaultService(FaultRepository(session, "t"))
        assert faults.flapping(DEVICE, NOON) == {"term.PRN_NO_PAPER": 3}
        assert faults.flapping(DEVICE, NOON + timedelta(minutes=1, seconds=1)) == {}
        assert faults.flapping("d-other00000001", NOON) == {}
