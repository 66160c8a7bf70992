"""What each role is shown of people, on every page and from every door that shows devices and sites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fleet_server.auth.roles import Permission, Role
from fleet_server.db import transaction
from fleet_server.devices.models import Device, Site
from fleet_server.personal.register import FIELDS, Seen
from tests.fleet_server.routes import routes_of
from tests.fleet_server.two_tenants import OURS, Two, add_token, bearer, two_tenants

NAME, PHONE, ADDRESS, SIM = "王大锤", "13877776666", "虚构大道 4711 号", "13955554444"
PLAIN = {Role.SUPPORT, Role.APPROVER, Role.TENANT_ADMIN, Role.OPERATOR}
OPENS = PLAIN | {Role.TECHNICIAN}
PLACES = ("site.contact_name", "site.phone", "site.address", "device.sim_phone")
NOT_ASKED = ("/events", "/stream", "/live", "/static/", "/metrics", "/sign-in", "/set-up", "/demo", "/openapi")


@pytest.fixture(name="two")
def _two(engine: Engine, tmp_path: Path) -> Iterator[Two]:
    with two_tenants(engine, tmp_path) as two:
        with transaction(engine) as session:
            site = session.get_one(Site, two.ours.site)
            site.contact_name, site.phone, site.address = NAME, PHONE, ADDRESS
            for device in (two.ours.gateway, two.ours.terminal):
                session.get_one(Device, device).sim_phone = SIM
        yield two


def pages(two: Two) -> list[str]:
    """Every GET of the program that can be asked with what is there, and searches for the people themselves."""
    run = two.runs[OURS, "check"]
    names = {
        "device_id": two.ours.terminal,
        "execution_id": run,
        "run_id": run,
        "site_id": two.ours.site,
        "person_id": f"p-{OURS}-{Role.VIEWER}",
        "name": "agent.echo",
    }
    found = []
    for method, path in routes_of(two.app):
        plain = path.replace(":path", "")
        if (
            method == "GET"
            and not any(part in plain for part in NOT_ASKED)
            and "{" not in plain.format_map(_Any(names))
        ):
            found.append(plain.format(**names))
    searches = [f"{path}{word}" for word in (NAME, PHONE, SIM) for path in ("/search?q=", "/search/palette?q=", "/?q=")]
    return [*found, *searches, f"/open?phone={PHONE}", f"/api/v1/devices?q={PHONE}", f"/api/v1/sites?q={NAME}"]


class _Any(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


@pytest.mark.parametrize("role", Role)
def test_every_page_and_every_answer_shows_people_only_to_those_who_may_see_them(two: Two, role: Role) -> None:
    asked = pages(two)
    assert len(asked) > 40
    cookie, _ = two.session_of(OURS, role)
    seen: dict[str, str] = {}
    for path in asked:
        headers = bearer(OURS, role.value) if path.startswith("/api/") else cookie
        two.client.cookies.clear()
        answer = two.client.get(path, headers=headers)
        assert answer.status_code < 500, path
        # What was asked for is said back to whoever asked.
        text = answer.text if "=" not in path else answer.text.replace(path.partition("=")[2], "")
        seen |= {word: path for word in (NAME, PHONE, ADDRESS, SIM) if word in text}
    assert set(seen) == (({NAME, PHONE, ADDRESS, SIM}) if role in PLAIN else set()), seen


@pytest.mark.parametrize("role", Role)
def test_opening_is_a_deed_of_those_who_need_it_and_a_file_is_masked_too(two: Two, role: Role) -> None:
    opened = two.client.post(f"/api/v1/sites/{two.ours.site}/open", headers=bearer(OURS, role.value))
    assert (opened.status_code == 200 and PHONE in opened.text) is (role in OPENS)
    file = two.client.post("/api/v1/sites/export", headers=bearer(OURS, role.value))
    assert (PHONE in file.text) is (role in PLAIN)


def test_a_token_without_the_right_to_people_gets_a_masked_file(two: Two) -> None:
    with transaction(two.engine) as session:
        add_token(session, OURS, "narrow", Role.OPERATOR, {Permission.SITES_MANAGE})
    file = two.client.post("/api/v1/sites/export", headers=bearer(OURS, "narrow"))
    assert file.status_code == 200
    assert not [word for word in (NAME, PHONE, ADDRESS) if word in file.text]


def test_the_register_says_the_same_of_these_fields() -> None:
    assert {field.name for field in FIELDS if field.seen is Seen.PERSONAL} == set(PLACES)
    assert {role for role in Role if Permission.PERSONAL_READ in role.permissions} == PLAIN
    assert {role for role in Role if Permission.PERSONAL_OPEN in role.permissions} == OPENS
