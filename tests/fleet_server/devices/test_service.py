from __future__ import annotations

import pytest
from sqlalchemy import Engine, event
from sqlmodel import Session, col, update

from fleet_server.db import reading, transaction
from fleet_server.devices import service as service_module
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.models import Device
from fleet_server.devices.repository import DeviceFilters, DeviceRepository
from fleet_server.devices.service import CapabilityCache, DeviceService
from fleet_server.kit.pagination import CursorInvalid
from fleet_server.sites.shown import Sight
from tests.fleet_server.factories import TENANT, add_fleet, device, site


def service(session: Session, tenant: str = TENANT, sight: Sight = Sight.PLAIN) -> DeviceService:
    return DeviceService(DeviceRepository(session, tenant), sight=sight)


@pytest.fixture
def shops(engine: Engine) -> Engine:
    """Two shops of ours, one of a stranger."""
    with transaction(engine) as session:
        session.add(site("s-dawn-0001", merchant_id="898310000000001", phone="021-5555 0101", contact_name="王小明"))
        session.add(
            site(
                "s-dusk-0002",
                merchant_id="898310000000002",
                merchant_name_zh="暮色书店",
                merchant_name_en="Dusk Books 100%",
                phone="+86 10 6666 0202",
                contact_name="李四",
            )
        )
        session.add(site("s-else-0003", "other"))
        session.flush()
        text = "{serial}\n{tid}\n{name}"
        for number, (shop, name) in enumerate(
            [("s-dawn-0001", "晨光便利店"), ("s-dusk-0002", "dusk books 100%\n暮色书店")] * 3
        ):
            serial, tid = f"PX00{number}ABC{number}XYZ", f"1000000{number}"
            row = device(
                f"d-till-{number:08}",
                shop,
                serial_number=serial,
                serial_tail=serial[-6:].lower(),
                terminal_id=tid,
                search_text=text.format(serial=serial, tid=tid, name=name).lower(),
                condition_rank=5 - number,
                sim_phone=f"1380000000{number}",
            )
            session.add(row)
        session.add(device("d-else-00000001", "s-else-0003", "other", search_text="晨光便利店 10000000"))
    return engine


def ids(found: object) -> list[str]:
    return [one.device.id[-1] for one in found]  # type: ignore[attr-defined]  # devices at their sites


FOUND = [
    ("10000003", "3"),
    ("px003abc3xyz", "3"),
    ("BC3XYZ", "3"),
    ("d-till-00000003", "3"),
    ("13800000003", "3"),
    ("+8613800000003", "3"),
    ("898310000000002", "531"),
    ("暮色", "531"),
    ("dusk books", "531"),
    ("100%", "531"),
    ("021-5555 0101", "420"),
    ("+86 21 5555 0101", "420"),
    ("01066660202", "531"),
    ("王小明", "420"),
    ("王", ""),
    ("0215555", ""),
    ("nothing like it", ""),
    ("_", ""),
    ("", ""),
]


def test_device_is_found_by_every_number_and_name_it_goes_by(shops: Engine) -> None:
    with reading(shops) as session:
        found = [(query, "".join(ids(service(session).find(query)))) for query, _ in FOUND]
    assert found == FOUND


def test_by_people_a_device_is_found_only_for_those_who_may_see_them(shops: Engine) -> None:
    """Not by a part either: who may not see a number could guess it digit by digit."""
    by_people = ["13800000003", "+8613800000003", "021-5555 0101", "0215555", "01066660202", "王小明"]
    with reading(shops) as session:
        masked = service(session, sight=Sight.MASKED)
        assert [ids(masked.find(query)) for query in by_people] == [[]] * len(by_people)
        assert [ids(masked.list(DeviceFilters(q=query), None, 9).items) for query in by_people] == [[]] * len(by_people)
        assert masked.look_up(phone="02155550101") == ()
        plain = service(session).list(DeviceFilters(q="+86 21 5555 0101"), None, 9)
        assert ids(plain.items) == list("420")


def test_exact_hit_comes_before_what_only_contains_the_words(shops: Engine) -> None:
    with transaction(shops) as session:
        session.execute(
            update(Device).where(col(Device.id) == "d-till-00000005").values(search_text="like 10000001 but worse")
        )
    with reading(shops) as session:
        assert ids(service(session).find("10000001")) == ["1", "5"]


KNOWN: list[tuple[dict[str, str], str]] = [
    ({"sn": "PX001ABC1XYZ", "phone": "021-55550101"}, "1"),
    ({"sn": "bc1xyz"}, "1"),
    ({"tid": "10000002", "mid": "898310000000002"}, "2"),
    ({"phone": "02155550101"}, "420"),
    ({"mid": "898310000000002"}, "531"),
    ({"sn": "unknown", "mid": "898310000000002"}, "531"),
    ({"phone": "12"}, ""),
    ({}, ""),
]


def test_telephone_system_is_led_by_the_surest_of_what_it_knows(shops: Engine) -> None:
    with reading(shops) as session:
        led = [(asked, "".join(ids(service(session).look_up(**asked)))) for asked, _ in KNOWN]
    assert led == KNOWN


def test_list_is_worst_first_in_pages_without_gaps(shops: Engine) -> None:
    with reading(shops) as session:
        first = service(session).list(DeviceFilters(), None, 4)
        rest = service(session).list(DeviceFilters(), first.next, 4)
        with pytest.raises(CursorInvalid):
            service(session).list(DeviceFilters(), "WyJhIiwiYiJd", 4)
    assert ids([*first.items, *rest.items]) == list("543210")
    assert rest.next is None


def test_list_is_filtered(shops: Engine) -> None:
    with transaction(shops) as session:
        session.execute(
            update(Device).where(col(Device.id) == "d-till-00000002").values(presence="online", condition="well")
        )
    for filters, expected in [
        (DeviceFilters(presence="online"), "2"),
        (DeviceFilters(condition="well"), "2"),
        (DeviceFilters(site="s-dusk-0002"), "531"),
        (DeviceFilters(q="晨光 10000004"), "4"),
        (DeviceFilters(device_ids=frozenset({"d-till-00000000", "d-else-00000001"})), "0"),
        (DeviceFilters(device_ids=frozenset()), ""),
    ]:
        with reading(shops) as session:
            assert ids(service(session).list(filters, None, 10).items) == list(expected)


def test_census_counts_only_ones_own(shops: Engine) -> None:
    with reading(shops) as session:
        assert service(session).census().total == 6
        assert service(session, "other").census().presence == {"unknown": 1}


def test_retired_device_is_not_shown(shops: Engine) -> None:
    with transaction(shops) as session:
        row = session.get(Device, "d-till-00000003")
        assert row is not None
        row.retired_at = row.enrolled_at
    with reading(shops) as session, pytest.raises(DeviceNotFound):
        service(session).get("d-till-00000003")


def test_document_of_capabilities_is_read_once_for_each_digest(engine: Engine) -> None:
    with transaction(engine) as session:
        fleet = add_fleet(session)
    cache, statements = CapabilityCache(), []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for _ in range(3):
        with reading(engine) as session:
            declared = DeviceService(DeviceRepository(session, TENANT), cache).capabilities(fleet.terminal)
    assert declared is not None
    assert len([one for one in statements if "document" in one]) == 1


def test_cache_of_capabilities_is_bounded(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setattr(service_module, "_CAPABILITIES_KEPT", 2)
    with transaction(engine) as session:
        fleet = add_fleet(session)
        declared = service(session).capabilities(fleet.terminal)
    assert declared is not None
    cache = CapabilityCache()
    for number in range(3):
        cache.put("d", str(number), declared)
    assert [cache.get("d", str(number)) is None for number in range(3)] == [True, False, False]
