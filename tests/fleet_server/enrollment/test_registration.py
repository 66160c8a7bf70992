from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, event, func, select
from sqlmodel import Session

from fleet_server.db import transaction
from fleet_server.devices.models import Device
from fleet_server.enrollment import registration
from fleet_server.enrollment.errors import FleetFileInvalid
from fleet_server.enrollment.fleet_file import DeviceEntry, DeviceKind, FleetFile, Named, SiteEntry
from fleet_server.enrollment.registration import Registered, Registration
from fleet_server.enrollment.repository import EnrollmentRepository
from protocol.catalogue.vocabulary import TerminalClass

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
NAME = Named(zh="名", en="name")
DEVICE: Any = Device


def fleet_of(terminals: int, *, model: str = "M1") -> FleetFile:
    site = SiteEntry("shop", "123", NAME, NAME, "Asia/Shanghai", trading_hours=[("06:00", "22:00")])
    gateway = entry("gw", DeviceKind.GATEWAY)
    attached = [
        entry(f"t{number}", DeviceKind.ATTACHED, model=model, attached_to="gw", line=f"l{number}")
        for number in range(terminals)
    ]
    # The gateway last: links are made first wherever they stand.
    return FleetFile([site], [*attached, gateway])


def entry(key: str, kind: DeviceKind, *, model: str = "M1", **more: Any) -> DeviceEntry:
    return DeviceEntry(key, "shop", kind, f"SN-{key}", model, TerminalClass.TRADITIONAL, NAME, **more)


def import_into(engine: Engine, fleet: FleetFile) -> Registered:
    with transaction(engine) as session:
        return Registration(session, "default", NOW).import_fleet(fleet)


def statements_of(engine: Engine, fleet: FleetFile) -> int:
    seen = []

    def count(*_: Any) -> None:
        seen.append(1)

    event.listen(engine, "before_cursor_execute", count)
    try:
        import_into(engine, fleet)
    finally:
        event.remove(engine, "before_cursor_execute", count)
    return len(seen)


def test_a_file_larger_than_a_piece_is_imported_whole(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "_PIECE", 3)
    assert import_into(engine, fleet_of(10)) == Registered(1, 11)
    with Session(engine) as session:
        enrolled = {one.key: one for one in EnrollmentRepository(session, "default").list_enrolled()}
    assert set(enrolled) == {"gw", *(f"t{number}" for number in range(10))}
    assert {one.link_id for one in enrolled.values()} == {enrolled["gw"].id}


def test_importing_again_makes_nothing_new_and_what_has_changed_is_written(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "_PIECE", 3)
    import_into(engine, fleet_of(10))
    assert import_into(engine, fleet_of(12, model="M2")) == Registered(0, 2)
    with Session(engine) as session:
        models = session.execute(select(DEVICE.model, func.count()).group_by(DEVICE.model)).all()
    assert sorted((row[0], row[1]) for row in models) == [("M1", 1), ("M2", 12)]


def test_statements_do_not_grow_with_the_devices(engine: Engine) -> None:
    few = statements_of(engine, fleet_of(10))
    many = statements_of(engine, fleet_of(1000))
    assert many <= few + 20  # the many rows go another way into PostgreSQL


def test_a_serial_number_is_not_taken_over_by_another_key(engine: Engine) -> None:
    import_into(engine, fleet_of(2))
    thief = FleetFile(fleet_of(0).sites, [replace(fleet_of(0).devices[0], key="gw2")])
    with pytest.raises(FleetFileInvalid, match="SN-gw is enrolled already under another key"):
        import_into(engine, thief)


def test_a_retired_device_keeps_its_serial_number_and_frees_it_for_others(engine: Engine) -> None:
    import_into(engine, fleet_of(1))
    with transaction(engine) as session:
        session.execute(DEVICE.__table__.update().values(retired_at=NOW))
    moved = FleetFile(fleet_of(0).sites, [replace(fleet_of(0).devices[0], serial_number="SN-9")])
    with pytest.raises(FleetFileInvalid, match="is enrolled with serial number SN-gw"):
        import_into(engine, moved)
    again = FleetFile(fleet_of(0).sites, [replace(fleet_of(0).devices[0], key="gw2")])
    assert import_into(engine, again).devices == 1
