"""A backup of before an erasure is brought back without who was erased."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from fleet_server.approvals.models import ShiftPermit
from fleet_server.auth.passwords import Passwords
from fleet_server.backup import make_backup
from fleet_server.db import transaction
from fleet_server.devices.models import Site
from fleet_server.enrollment.installation import install
from fleet_server.enrollment.settings_file import Wishes
from fleet_server.personal.errors import LedgerUnusable
from fleet_server.personal.ledger import FILE
from fleet_server.restore import restore
from fleet_server.settings import load_settings
from tests.fleet_server.factories import NOON
from tests.fleet_server.personal.planted import CALLED, LATER, SITE, STAFF, everything, plant
from tests.fleet_server.personal.test_erasing import erase, found, left
from tests.fleet_server.test_backup import Place
from tests.support.audit_rig import verified
from tests.support.engines import postgres_url

TYPED = "13900001111"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        url = None
        if request.param == "postgresql":
            url = stack.enter_context(postgres_url(request.getfixturevalue("postgres_server"), "template1"))
        made = Place(tmp_path / "data", url)
        install(made.data, Wishes(database_url=url), None, NOON, Passwords.cheap())
        with made.engine() as engine:
            plant(engine)
            with transaction(engine) as session:
                session.execute(update(ShiftPermit).values(reason=f"call {TYPED}"))
        yield made


def brought_back(place: Place, backup: Path) -> None:
    restore(place.data, backup, place.url, LATER, place.said.append)


def test_who_was_erased_since_a_backup_does_not_come_back_with_it(place: Place, tmp_path: Path) -> None:
    backup = make_backup(place.data, tmp_path / "backup", LATER, place.said.append).folder
    with place.engine() as engine:
        erase(engine, place.data, found(engine, person=STAFF["name"]))
        erase(engine, place.data, found(engine, name=CALLED["name"]))
        erase(engine, place.data, found(engine, phone=TYPED))
    brought_back(place, backup)
    with place.engine() as engine:
        rows = everything(engine)
        text = repr(rows).encode()
        assert left(STAFF, text) == left(CALLED, text) == []
        assert TYPED.encode() not in text
        assert rows["execution"][0]["state"] == "SUCCEEDED"
        assert len([row for row in rows["erasure"] if row["done_at"] is not None]) == 2
        assert verified(engine).finding is None
    if place.url is None:
        files = (Path(load_settings(place.data).database_url.removeprefix("sqlite:///"))).read_bytes()
        assert left(STAFF, files) == left(CALLED, files) == []
    assert any("erased again" in line for line in place.said)


def test_whoever_came_to_the_site_after_an_erasure_stays(place: Place, tmp_path: Path) -> None:
    with place.engine() as engine:
        erase(engine, place.data, found(engine, name=CALLED["name"]))
        with transaction(engine) as session:
            row = session.get_one(Site, SITE)
            row.contact_name, row.contact_at = "陈浩然", LATER + timedelta(days=1)
    backup = make_backup(place.data, tmp_path / "backup", LATER, place.said.append).folder
    brought_back(place, backup)
    with place.engine() as engine:
        assert {row["contact_name"] for row in everything(engine)["site"]} == {"陈浩然", "王小明明"}


def test_a_ledger_that_cannot_be_read_stops_a_restore(place: Place, tmp_path: Path) -> None:
    backup = make_backup(place.data, tmp_path / "backup", LATER, place.said.append).folder
    (place.data / FILE).write_text("nobody\n", "utf-8")
    with pytest.raises(LedgerUnusable):
        brought_back(place, backup)
