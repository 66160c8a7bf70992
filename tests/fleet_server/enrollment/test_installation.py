from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.audit.service import AuditFilter, AuditService
from fleet_server.auth.accounts import find_token_actor
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.roles import Role
from fleet_server.auth.service import AuthService
from fleet_server.db import open_engine, reading, transaction
from fleet_server.devices.models import Device, Site
from fleet_server.enrollment.errors import DataFolderUnusable, FleetFileInvalid
from fleet_server.enrollment.installation import Installation, install
from fleet_server.enrollment.models import IssuedCertificate
from fleet_server.enrollment.settings_file import Wishes
from fleet_server.errors import DatabaseUnreachable, SettingsInvalid
from protocol import codec
from protocol.signing import POLICY_TYPE, Opened, Policy, open_envelope, public_keys
from tests.fleet_server.auth.people import door
from tests.fleet_server.enrollment.fleets import small_fleet
from tests.support.engines import postgres_url
from tests.support.issuer import local_issuer

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Home:
    data: Path
    database_url: str | None

    def install(
        self, fleet: dict[str, Any] | None = None, *, now: datetime = NOW, demo: bool = True, **wishes: Any
    ) -> Installation:
        path = None
        if fleet is not None:
            path = self.data.with_name("fleet.json")
            path.write_text(json.dumps(fleet), "utf-8")
        wanted = Wishes(database_url=self.database_url, demo=demo or None, **wishes)
        return install(self.data, wanted, path, now, Passwords.cheap(), lambda to: local_issuer(to, lambda: now))

    def engine(self, made: Installation) -> Engine:
        return open_engine(made.settings.database_url)

    def read(self, key: str, name: str) -> bytes:
        return (self.data / "agents" / key / name).read_bytes()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    if request.param == "sqlite":
        yield Home(tmp_path / "data", None)
    else:
        with postgres_url(request.getfixturevalue("postgres_server"), "template1") as url:
            yield Home(tmp_path / "data", url)


@pytest.fixture
def plain_home(tmp_path: Path) -> Home:
    return Home(tmp_path / "data", None)


def test_a_fleet_is_enrolled_with_bundles_for_links_only(home: Home) -> None:
    made = home.install(small_fleet())
    assert set(made.devices) == {"prn1", "gw1", "esign1"}
    assert made.devices["prn1"].bundle is None
    enrolment = json.loads(home.read("gw1", "enrolment.json"))
    assert enrolment["link"] == made.devices["gw1"].id
    assert enrolment["attached"] == {"prn0": made.devices["prn1"].id}
    assert enrolment["broker"] == {"host": "127.0.0.1", "port": 8883}
    assert (enrolment["serial_number"], enrolment["terminal_class"]) == ("GW0000001", "traditional")


def test_rows_carry_what_people_search_for(home: Home) -> None:
    made = home.install(small_fleet())
    engine = home.engine(made)
    with reading(engine) as session:
        device = session.get(Device, made.devices["esign1"].id)
        printer = session.get(Device, made.devices["prn1"].id)
        site = session.exec(select(Site)).one()
    engine.dispose()
    assert device is not None
    assert printer is not None
    assert device.serial_tail == "000001"
    found = set(device.search_text.split("\n"))
    assert {"es0000001", "10000001", "898110000000001", "晨光便利店", "morning light"} <= found
    assert printer.link_id == made.devices["gw1"].id
    assert device.link_id == device.id
    assert (site.timezone, site.trading_hours) == ("Asia/Shanghai", [["06:00", "22:00"]])


def test_installing_again_changes_nothing_and_shows_no_password_twice(home: Home) -> None:
    first = home.install(small_fleet())
    before = {
        path: path.read_bytes() for path in home.data.rglob("*") if path.is_file() and "fleet.db" not in path.name
    }
    again = home.install(small_fleet())
    after = {path: path.read_bytes() for path in home.data.rglob("*") if path.is_file() and "fleet.db" not in path.name}
    assert after == before
    assert again.devices == first.devices
    assert [person.password for person in again.people] == [None] * len(Role)
    assert again.api_token is None


def test_people_of_the_demo_can_sign_in_and_the_token_is_known(home: Home) -> None:
    made = home.install()
    engine = home.engine(made)
    service = AuthService(door(engine))
    for person in made.people:
        assert person.password is not None
        assert len(person.password) >= 12
        opened = service.sign_in(person.name, person.password, address="", user_agent="", now=NOW)
        assert opened is not None
        assert opened.session.actor.role == person.role
    assert made.api_token is not None
    assert made.api_token.startswith("tm_")
    with reading(engine) as session:
        actor = find_token_actor(session, made.api_token, NOW)
    engine.dispose()
    assert actor is not None
    assert actor.role is Role.SUPPORT


def test_without_demo_there_is_one_operator_no_token_and_no_approver(plain_home: Home) -> None:
    made = plain_home.install(demo=False)
    (operator,) = made.people
    assert (operator.name, operator.password) == ("operator", None)
    assert operator.set_up_code is not None
    assert made.api_token is None
    assert not (made.settings.keys_dir / "approver.seed").exists()


def test_an_installation_lets_nobody_work_without_a_second_factor(plain_home: Home) -> None:
    assert not plain_home.install(demo=False).settings.sign_in_without_second_factor


def test_a_demo_that_was_told_to_ask_for_second_factors_keeps_to_it(plain_home: Home) -> None:
    made = plain_home.install()
    file = made.settings.server_dir / "fleet.toml"
    line = "sign_in_without_second_factor = {}"
    file.write_text(file.read_text("utf-8").replace(line.format("true"), line.format("false")), "utf-8")
    assert not plain_home.install().settings.sign_in_without_second_factor
    file.write_text(file.read_text("utf-8").replace(line.format("false"), ""), "utf-8")
    assert plain_home.install().settings.sign_in_without_second_factor


def test_the_key_of_second_factors_is_made_once_and_not_in_the_database(plain_home: Home) -> None:
    made = plain_home.install()
    key = made.settings.people_key.read_text("ascii")
    assert len(key.strip()) == 64
    assert stat.S_IMODE(made.settings.people_key.stat().st_mode) == 0o600
    assert plain_home.install().settings.people_key.read_text("ascii") == key


def test_nobody_else_can_read_anything(plain_home: Home) -> None:
    made = plain_home.install(small_fleet())
    for path in (plain_home.data, *plain_home.data.rglob("*")):
        if path.is_dir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        elif (
            path.parent in {made.settings.keys_dir, made.settings.tls_dir, made.settings.issuer_dir}
            or "agents" in path.parts
        ):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def policy_of(made: Installation) -> Policy:
    root = json.loads((made.settings.data / "agents" / "gw1" / "enrolment.json").read_bytes())["root_public"]
    opened = open_envelope(made.settings.policy_file.read_bytes(), POLICY_TYPE, public_keys([root]))
    assert isinstance(opened, Opened)
    policy = codec.from_json(opened.payload, Policy)
    assert isinstance(policy, Policy)
    return policy


def test_the_policy_rises_by_one_when_its_content_changes(plain_home: Home) -> None:
    first = policy_of(plain_home.install(small_fleet(), demo=False))
    second = policy_of(plain_home.install(now=NOW + timedelta(days=1)))
    third = policy_of(plain_home.install(now=NOW + timedelta(days=2)))
    assert (first.version, len(first.approvers)) == (1, 0)
    assert (second.version, len(second.approvers)) == (2, 1)
    assert third == second


def serial_of(home: Home, key: str) -> int:
    return x509.load_pem_x509_certificate(home.read(key, "client.crt")).serial_number


def test_certificates_are_renewed_past_two_thirds_of_their_life_and_written_down(home: Home) -> None:
    made = home.install(small_fleet())
    old = serial_of(home, "gw1")
    home.install(now=NOW + timedelta(days=50))
    assert serial_of(home, "gw1") == old
    home.install(now=NOW + timedelta(days=61))
    assert serial_of(home, "gw1") != old
    engine = home.engine(made)
    with reading(engine) as session:
        rows = session.exec(select(IssuedCertificate)).all()
    engine.dispose()
    assert {row.serial for row in rows if row.link_id == made.devices["gw1"].id} == {
        f"{old:x}",
        f"{serial_of(home, 'gw1'):x}",
    }


def test_a_device_that_looks_after_its_key_itself_keeps_it(plain_home: Home) -> None:
    made = plain_home.install(small_fleet(), demo=False)
    link = made.devices["gw1"].id
    before = plain_home.read("gw1", "client.crt")
    engine = plain_home.engine(made)
    later = NOW + timedelta(days=60)
    with transaction(engine) as session:
        row = IssuedCertificate(
            serial="abc", tenant_id="default", link_id=link, issued_at=later, not_after=later + timedelta(days=90)
        )
        session.add(row)
    engine.dispose()
    plain_home.install(now=NOW + timedelta(days=80), demo=False)
    assert plain_home.read("gw1", "client.crt") == before
    # A bundle that was carried and deleted is not made again: it would take the device's own key from it.
    shutil.rmtree(plain_home.data / "agents")
    plain_home.install(now=NOW + timedelta(days=80), demo=False)
    assert not (plain_home.data / "agents" / "gw1").exists()


def test_a_corrected_file_updates_rows_under_the_same_ids(home: Home) -> None:
    first = home.install(small_fleet())
    fleet = small_fleet()
    fleet["sites"][0]["phone"] = "02155550199"
    fleet["devices"][1]["label"]["zh"] = "前台"
    second = home.install(fleet)
    assert second.devices == first.devices
    engine = home.engine(second)
    with reading(engine) as session:
        device = session.get(Device, second.devices["gw1"].id)
    engine.dispose()
    assert device is not None
    assert device.label_zh == "前台"
    assert "前台" in device.search_text
    # Whom to call is looked for by itself, where it can be erased.
    assert "02155550199" not in device.search_text


def test_an_import_is_audited_once(home: Home) -> None:
    home.install(small_fleet())
    engine = home.engine(home.install(small_fleet()))
    with reading(engine) as session:
        page = AuditService(session, "default").page(AuditFilter(action="fleet_imported"), None, 10)
    engine.dispose()
    assert [(row.actor, row.data) for row in page.items] == [("system", {"sites": 1, "devices": 3})]


def test_an_id_stays_bound_to_its_serial_number(plain_home: Home) -> None:
    plain_home.install(small_fleet())
    fleet = small_fleet()
    fleet["devices"][1]["serial_number"] = "GW0000002"
    with pytest.raises(FleetFileInvalid, match="gw1 is enrolled with serial number GW0000001"):
        plain_home.install(fleet)
    fleet = small_fleet()
    fleet["devices"][2]["key"] = "esign2"
    with pytest.raises(FleetFileInvalid, match="ES0000001 is enrolled already under another key"):
        plain_home.install(fleet)


def test_a_broken_fleet_file_leaves_nothing_behind(plain_home: Home) -> None:
    fleet = small_fleet()
    fleet["sites"][0]["timezone"] = "Mars"
    with pytest.raises(FleetFileInvalid):
        plain_home.install(fleet)
    assert not plain_home.data.exists()


def test_what_an_operator_changed_stays_and_what_is_asked_for_wins(plain_home: Home) -> None:
    made = plain_home.install()
    file = made.settings.server_dir / "fleet.toml"
    file.write_text(file.read_text("utf-8").replace("http://127.0.0.1:8080", "https://pos.example"), "utf-8")
    assert plain_home.install(mqtt_port=18883).settings.url == "https://pos.example"
    again = plain_home.install(http_host="192.0.2.7", http_port=8443)
    assert again.settings.mqtt_port == 18883
    assert again.settings.url == "https://192.0.2.7:8443"


@pytest.mark.parametrize("content", ["mqtt_port = 'x'", "[", "\xff"])
def test_a_broken_settings_file_is_named(plain_home: Home, content: str) -> None:
    made = plain_home.install()
    (made.settings.server_dir / "fleet.toml").write_text(content, "latin-1")
    with pytest.raises(SettingsInvalid, match=r"fleet\.toml"):
        plain_home.install()


def test_a_file_in_the_place_of_the_data_folder_is_named(plain_home: Home) -> None:
    plain_home.data.write_text("")
    with pytest.raises(DataFolderUnusable, match="a file is in the way"):
        plain_home.install()


def test_a_lost_key_is_not_replaced_in_silence(plain_home: Home) -> None:
    made = plain_home.install()
    (made.settings.issuer_dir / "issuing.key").unlink()
    with pytest.raises(DataFolderUnusable, match=r"no usable issuing\.crt and issuing\.key"):
        plain_home.install(now=NOW + timedelta(days=61))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql+psycopg://x:secret@127.0.0.1:1/none", r"x:\*\*\*@127\.0\.0\.1:1/none cannot be opened"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("mysqlish://x", "expected sqlite:///PATH or postgresql"),
        ("nonsense", "expected sqlite:///PATH or postgresql"),
    ],
)
def test_an_unreachable_database_is_one_sentence_without_the_password(
    plain_home: Home, url: str, sentence: str
) -> None:
    with pytest.raises(DatabaseUnreachable, match=sentence) as refused:
        Home(plain_home.data, url).install()
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_device_that_was_heard_keeps_the_key_of_its_bundle(plain_home: Home) -> None:
    """It was carried, and has not renewed yet: a later `init`, or another issuing authority, must not take its name."""
    made = plain_home.install(small_fleet(), demo=False)
    before = {key: plain_home.read(key, "client.crt") for key in ("gw1", "esign1")}
    engine = plain_home.engine(made)
    with transaction(engine) as session:
        row = session.get(Device, made.devices["gw1"].id)
        assert row is not None
        row.last_seen_at = NOW
        session.add(row)
    engine.dispose()
    plain_home.install(now=NOW + timedelta(days=80), demo=False)
    assert plain_home.read("gw1", "client.crt") == before["gw1"]
    assert plain_home.read("esign1", "client.crt") != before["esign1"], "one that waits to be carried is made anew"
