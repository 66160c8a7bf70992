"""What is remembered of links between flushes, and for how long."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, event, update

from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device
from fleet_server.ingest import directory as directory_module
from fleet_server.ingest.directory import FRESH_S, LOOK_AGAIN_S, Directory
from fleet_server.ingest.heard import TOUCH_EVERY_S, Heard
from tests.support.fleet_rows import GATEWAY, OTHER, PINPAD, PRINTER, STRANGER, TERMINAL, device, make_fleet
from tests.support.flush_rig import START


class Counted:
    """A directory on a database, with the statements it sends."""

    def __init__(self, engine: Engine) -> None:
        make_fleet(engine)
        self.directory = Directory()
        self.asked = 0
        self._engine = engine
        event.listen(engine, "before_cursor_execute", self._count)

    def find(self, *link_ids: str, now_s: float = 0.0) -> set[str]:
        with reading(self._engine) as session:
            return set(self.directory.find(session, link_ids, now_s))

    def _count(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self.asked += statement.startswith("SELECT device")


@pytest.fixture
def counted(sqlite_engine: Engine) -> Counted:
    return Counted(sqlite_engine)


def test_a_link_is_found_with_all_it_may_speak_for(sqlite_engine: Engine) -> None:
    make_fleet(sqlite_engine)
    with reading(sqlite_engine) as session:
        found = Directory().find(session, [GATEWAY, PRINTER, STRANGER], 0.0)
    assert set(found) == {GATEWAY}, "what is attached has no connection of its own"
    assert set(found[GATEWAY].devices) == {GATEWAY, PRINTER, PINPAD}


def test_neither_links_nor_strangers_are_asked_for_at_every_message(counted: Counted) -> None:
    for _ in range(5):
        assert counted.find(TERMINAL, STRANGER) == {TERMINAL}
    assert counted.asked == 2  # for the links, and for what hangs on them


def test_an_enrolment_and_a_retirement_are_seen_without_a_restart(counted: Counted, sqlite_engine: Engine) -> None:
    assert counted.find(TERMINAL, STRANGER) == {TERMINAL}
    with transaction(sqlite_engine) as session:
        session.add(device(STRANGER, "site-default", "terminal"))
        session.connection().execute(update(Device).where(Device.__table__.c.id == TERMINAL).values(retired_at=START))  # type: ignore[attr-defined]  # SQLModel tables have it
    assert counted.find(TERMINAL, STRANGER, now_s=FRESH_S + 1) == {STRANGER}


def test_a_retired_gateway_is_a_stranger_though_what_hung_on_it_is_not_retired(
    counted: Counted, sqlite_engine: Engine
) -> None:
    with transaction(sqlite_engine) as session:
        session.connection().execute(update(Device).where(Device.__table__.c.id == GATEWAY).values(retired_at=START))  # type: ignore[attr-defined]  # SQLModel tables have it
    assert counted.find(GATEWAY, TERMINAL) == {TERMINAL}


def test_what_is_forgotten_is_asked_for_again(counted: Counted) -> None:
    counted.find(TERMINAL)
    counted.directory.forget([TERMINAL])
    counted.find(TERMINAL)
    assert counted.asked == 4


def test_what_hangs_on_a_link_is_read_again_only_when_it_has_changed(counted: Counted, sqlite_engine: Engine) -> None:
    counted.find(GATEWAY)
    counted.find(GATEWAY, now_s=FRESH_S + 1)
    assert counted.asked == 3
    with transaction(sqlite_engine) as session:
        session.connection().execute(update(Device).where(Device.__table__.c.id == PRINTER).values(retired_at=START))  # type: ignore[attr-defined]  # SQLModel tables have it
        session.add(device("d-newcomer00000001", "site-default", "attached", link=GATEWAY, line="line7"))
    with reading(sqlite_engine) as session:
        found = counted.directory.find(session, [GATEWAY], 2 * FRESH_S + 2)
    assert set(found[GATEWAY].devices) == {GATEWAY, PINPAD, "d-newcomer00000001"}


def test_a_link_that_speaks_of_an_unknown_device_is_looked_at_again_but_not_at_every_message(
    counted: Counted, sqlite_engine: Engine
) -> None:
    with reading(sqlite_engine) as session:
        found = counted.directory.find(session, [GATEWAY], 0.0)
        assert counted.directory.look_again(session, found, [GATEWAY], LOOK_AGAIN_S) == {}
        assert set(counted.directory.look_again(session, found, [GATEWAY], LOOK_AGAIN_S + 1)) == {GATEWAY}


def test_the_devices_of_all_links_together_are_bounded(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "MAX_DEVICES", 3)
    counted.find(TERMINAL)
    counted.find(GATEWAY)
    assert list(counted.directory._links) == [GATEWAY]
    counted.find(OTHER)
    assert counted.directory._devices == len(counted.directory._links) == 1


def test_both_memories_are_bounded(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "MAX_LINKS", 2)
    monkeypatch.setattr(directory_module, "MAX_STRANGERS", 3)
    assert counted.find(TERMINAL, OTHER, GATEWAY, *[f"d-nobody0000{n}" for n in range(9)]) == {TERMINAL, OTHER, GATEWAY}
    assert (len(counted.directory._links), len(counted.directory._strangers)) == (2, 3)


def test_a_device_is_due_again_after_a_while_and_once_an_hour() -> None:
    heard = Heard()
    hour = START
    assert heard.due(["a", "b"], 10.0) == ["a", "b"]
    heard.note(["a"], hour, 10.0)
    assert heard.due(["a", "b"], 10.0 + TOUCH_EVERY_S / 2) == ["b"]
    assert heard.due(["a"], 10.0 + TOUCH_EVERY_S) == ["a"]
    assert heard.new_in_hour(["a", "b"], hour) == ["b"]
    assert heard.new_in_hour(["a"], hour.replace(hour=hour.hour + 1)) == ["a"]
