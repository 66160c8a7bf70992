"""What repositories count and gather for a technician, where pages and lists would not show it."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from fleet_server.db import reading, transaction
from fleet_server.devices.repository import DeviceFilters, DeviceRepository
from fleet_server.faults.models import Fault
from fleet_server.faults.repository import FaultRepository
from fleet_server.health.distribution import FleetValues
from fleet_server.kit.reach import Reach
from tests.fleet_server.factories import NOON, TENANT, add_fleet, assignment
from tests.support.health_rows import put_newest

LIN = Reach(TENANT, "p-lin")
CODE = "zvt.PAPER_OUT"


@pytest.fixture(name="fleets")
def _fleets(engine: Engine) -> Engine:
    """Two devices that are assigned to one technician, two that are not."""
    with transaction(engine) as session:
        for name, metric in (("mine", "batt.level_pct"), ("others", "modem.csq")):
            fleet = add_fleet(session, name)
            put_newest(session, TENANT, fleet.terminal, {metric: 7.0}, NOON)
            session.add(
                Fault(
                    id=f"f-{name}", tenant_id=TENANT, device_id=fleet.terminal, code=CODE, severity="major",
                    raised_ms=1, raised_at=NOON, last_seen_at=NOON, is_open=True,
                )
            )  # fmt: skip
        session.add(assignment("p-lin", site_id="s-mine-0001"))
    return engine


def test_counts_are_of_what_is_assigned(fleets: Engine) -> None:
    for reach, count in ((LIN, 2), (Reach(TENANT), 4), (Reach(TENANT, "p-nobody"), 0)):
        with reading(fleets, reach) as session:
            devices = DeviceRepository(session, TENANT)
            assert sum(devices.census("presence").values()) == count
            assert devices.count(None) == count
            assert sum(devices.zones(DeviceFilters()).values()) == count


def test_devices_with_a_fault_and_readings_of_the_fleet_are_of_what_is_assigned(fleets: Engine) -> None:
    with reading(fleets, LIN) as session:
        assert FaultRepository(session, TENANT).devices_with(CODE, 10) == ["d-mine-terminal"]
        values = FleetValues(session, TENANT)
        makes = DeviceRepository(session, TENANT).makes(DeviceFilters())
        assert values.metrics() == ["batt.level_pct"]
        assert len(list(values.numbers("batt.level_pct", makes))) == 1
        assert list(values.numbers("modem.csq", makes)) == []
    with reading(fleets, TENANT) as session:
        assert len(FaultRepository(session, TENANT).devices_with(CODE, 10)) == 2
        assert len(FleetValues(session, TENANT).metrics()) == 2
