"""A technician asks for everything of a device that is not assigned, by every route that the matrix knows, and by the
streams; and sees what is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import col, delete

from fleet_server.assignments.models import Assignment
from fleet_server.auth.roles import Role
from fleet_server.db import transaction
from fleet_server.devices.models import Device
from fleet_server.kit.times import utc_now
from fleet_server.timeline.hub import EventHub
from tests.fleet_server.factories import Fleet, add_fleet
from tests.fleet_server.test_route_matrix import ask, leaked, lines
from tests.fleet_server.test_streams_of_two_tenants import Opened, tell
from tests.fleet_server.two_tenants import OURS, THEIRS, Two, bearer, two_tenants
from tests.fleet_server.waiting_rows import new_assignment

TOKEN, PERSON = f"t-{OURS}-technician", f"p-{OURS}-technician"
HOUR = timedelta(hours=1)
SOON_S = 10.0


@pytest.fixture(name="two")
def _two(engine: Engine, tmp_path: Path) -> Iterator[Two]:
    with two_tenants(engine, tmp_path) as two:
        _take_away(two.engine)
        yield two


@pytest.fixture(name="streaming")
def _streaming(engine: Engine, tmp_path: Path) -> Iterator[Two]:
    with two_tenants(engine, tmp_path, EventHub(engine)) as two:
        _take_away(two.engine)
        yield two


def _take_away(engine: Engine) -> None:
    with transaction(engine) as session:
        session.exec(delete(Assignment).where(col(Assignment.tenant_id) == OURS))


def _own_fleet(two: Two) -> Fleet:
    """Of the same tenant, and assigned: lists are not empty."""
    with transaction(two.engine) as session:
        own = add_fleet(session, "own")
    for assignee in (TOKEN, PERSON):
        new_assignment(two.engine, OURS, None, site_id=own.site, assignee=assignee)
    return own


def _all_but_now(two: Two) -> None:
    """Assignments that let nobody see the first fleet now: over, not begun, somebody else's, of another tenant."""
    for assignee in (TOKEN, PERSON):
        new_assignment(two.engine, OURS, two.ours.terminal, assignee=assignee, begins=-2 * HOUR, ends=-HOUR)
        new_assignment(two.engine, OURS, None, site_id=two.ours.site, assignee=assignee, begins=HOUR, ends=2 * HOUR)
        new_assignment(two.engine, THEIRS, two.ours.terminal, assignee=assignee)
    new_assignment(two.engine, OURS, two.ours.terminal, assignee="p-default-somebody")


@pytest.mark.parametrize("door", ["api", "console"])
def test_every_route_answers_of_a_device_that_is_not_assigned_as_of_another_tenants(two: Two, door: str) -> None:
    _own_fleet(two)
    _all_but_now(two)
    wrong = []
    for line in lines(door):
        answer = ask(two, line, OURS, Role.TECHNICIAN)
        # What is written of the tenant as a whole is answered by the role alone, as to its own people.
        if answer.status_code != line.answer(Role.TECHNICIAN, THEIRS):
            wrong.append(f"{line.method} {line.path} {line.variant}: {answer.status_code}")
        if leaked(answer) or (two.ours.gateway in answer.text and "public" not in line.expected):
            wrong.append(f"{line.method} {line.path} {line.variant}: told of what is not assigned")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("of_site", [True, False])
def test_what_is_assigned_is_seen_by_every_route_that_the_role_may_use(two: Two, *, of_site: bool) -> None:
    for assignee in (TOKEN, PERSON):
        device_id, site_id = (None, two.ours.site) if of_site else (two.ours.terminal, None)
        new_assignment(two.engine, OURS, device_id, site_id=site_id, assignee=assignee)
    for door in ("api", "console"):
        for line in lines(door):
            # What is retired for a test is another device at the same site.
            if of_site or not line.path.endswith("/retirement"):
                assert ask(two, line, OURS, Role.TECHNICIAN).status_code == line.answer(Role.TECHNICIAN, OURS), line


def test_an_assigned_printer_brings_its_gateway_and_an_assigned_gateway_what_hangs_on_it(two: Two) -> None:
    headers = bearer(OURS, "technician")
    for assigned in (two.ours.terminal, two.ours.gateway):
        _take_away(two.engine)
        new_assignment(two.engine, OURS, assigned, assignee=TOKEN)
        seen = two.client.get("/api/v1/devices", headers=headers).json()["items"]
        assert {one["id"] for one in seen} == {two.ours.terminal, two.ours.gateway}


def test_of_two_on_a_gateway_the_one_that_is_not_assigned_is_not_seen(two: Two) -> None:
    own = _own_fleet(two)
    _take_away(two.engine)
    with transaction(two.engine) as session:
        session.get_one(Device, own.terminal).link_id = two.ours.gateway
    new_assignment(two.engine, OURS, two.ours.terminal, assignee=TOKEN)
    seen = two.client.get(f"/api/v1/devices/{two.ours.gateway}", headers=bearer(OURS, "technician")).json()
    assert [one["id"] for one in seen["attached"]] == [two.ours.terminal]


def test_whoever_has_no_assignment_is_told_why_nothing_is_there(two: Two) -> None:
    cookie, _ = two.session_of(OURS, Role.TECHNICIAN)
    for path in ("/", "/today"):
        page = two.client.get(path, headers={**cookie, "Accept-Language": "en"}).text
        assert "You see a terminal only while it is assigned to you" in page
    assert two.client.get("/api/v1/devices", headers=bearer(OURS, "technician")).json()["items"] == []


def test_a_stream_tells_of_what_is_assigned_only_and_no_more_once_it_is_taken_back(streaming: Two) -> None:
    own = _own_fleet(streaming)
    stream = Opened(streaming, "/api/v1/events", {**bearer(OURS, "technician"), "Last-Event-ID": "0"})
    tell(streaming, OURS, streaming.ours, "not assigned")
    tell(streaming, OURS, own, "first")
    stream.until(lambda one: "first" in one.text)
    with transaction(streaming.engine) as session:
        session.exec(delete(Assignment).where(col(Assignment.assignee_id) == TOKEN))
    new_assignment(streaming.engine, OURS, streaming.ours.terminal, assignee=TOKEN)
    began = utc_now()
    while "assigned now" not in stream.text:
        assert utc_now() - began < timedelta(seconds=SOON_S), stream.text
        tell(streaming, OURS, own, "taken back")
        tell(streaming, OURS, streaming.ours, "assigned now")
        Opened.until(stream, lambda _: True)
    heard = stream.text.count("taken back")
    for _ in range(3):
        tell(streaming, OURS, own, "taken back")
        tell(streaming, OURS, streaming.ours, "the last")
    stream.until(lambda one: "the last" in one.text)
    assert stream.text.count("taken back") == heard
    assert "not assigned" not in stream.text
    stream.close()


@pytest.mark.parametrize("path", ["/devices/{}/stream?after=0", "/fleet/stream?after=0"])
def test_a_page_that_is_open_is_told_nothing_more_of_what_was_taken_back(streaming: Two, path: str) -> None:
    own = _own_fleet(streaming)
    cookie, _ = streaming.session_of(OURS, Role.TECHNICIAN)
    stream = Opened(streaming, path.format(own.terminal), cookie)
    tell(streaming, OURS, own, "first")
    stream.until(lambda one: own.terminal in one.text)
    _take_away(streaming.engine)
    before = len(stream.text)
    tell(streaming, OURS, own, "second")
    stream.until(lambda one: one.has_ended or len(one.text) > before)
    assert own.terminal not in stream.text[before:]
    stream.close()
