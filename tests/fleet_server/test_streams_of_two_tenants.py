"""What open streams tell whom, and for how long: real events through the real hub, read as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.auth.models import ApiToken, User
from fleet_server.auth.people import People
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Role
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from fleet_server.tenants.service import TenantService
from fleet_server.timeline.hub import EventHub
from fleet_server.timeline.writer import NewEvent, append_events
from tests.fleet_server.factories import Fleet, actor
from tests.fleet_server.routes import scope_of
from tests.fleet_server.two_tenants import OURS, SECRET, THEIRS, Two, bearer, two_tenants

PATIENCE_S = 30.0
# Twice round the watcher, and what a loaded machine takes.
SOON_S = 10.0


@pytest.fixture(name="two")
def _two(engine: Engine, tmp_path: Path) -> Iterator[Two]:
    with two_tenants(engine, tmp_path, EventHub(engine)) as two:
        yield two


class Opened:
    """A stream that is read until somebody stops it or the server ends it."""

    def __init__(self, two: Two, path: str, headers: dict[str, str]) -> None:
        self.text, self.status, self.has_ended = "", 0, False
        path, _, query = path.partition("?")
        self._scope = scope_of("GET", path, headers) | {"query_string": query.encode(), "state": {}}
        self._two = two
        self._task: asyncio.Task[None] | None = None
        two.client.portal.call(self._begin)  # type: ignore[union-attr]  # it is there while the program runs

    async def _begin(self) -> None:
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        asked = False

        async def receive() -> Any:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.Event().wait()
            return None

        async def send(message: Any) -> None:
            self.status = message.get("status", self.status)
            self.text += message.get("body", b"").decode()

        await self._two.app(self._scope, receive, send)
        self.has_ended = True

    def until(self, holds: Callable[[Opened], bool], patience_s: float = PATIENCE_S) -> None:
        ends_s = time.monotonic() + patience_s
        while not holds(self):
            assert time.monotonic() < ends_s, (self.status, self.has_ended, self.text[-2000:])
            time.sleep(0.02)

    def close(self) -> None:
        async def stop() -> None:
            assert self._task is not None
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

        self._two.client.portal.call(stop)  # type: ignore[union-attr]  # as above


def tell(two: Two, tenant: str, fleet: Fleet, word: str) -> None:
    """Something happens on a terminal, and every process hears of it."""
    with transaction(two.engine) as session:
        append_events(session, tenant, [NewEvent(fleet.terminal, "presence", utc_now(), {"note": word})], utc_now())
    two.client.portal.call(_notify, two)  # type: ignore[union-attr]  # as above


async def _notify(two: Two) -> None:
    two.app.state.hub.notify()


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/devices/{mine}/events"])
def test_a_stream_tells_its_own_tenants_events_of_before_and_of_now_and_no_others(two: Two, path: str) -> None:
    for tenant, fleet in ((OURS, two.ours), (THEIRS, two.theirs)):
        stream = Opened(two, path.format(mine=fleet.terminal), {**bearer(tenant, "viewer"), "Last-Event-ID": "0"})
        stream.until(lambda one: "event:" in one.text)
        tell(two, OURS, two.ours, f"{SECRET} now")
        tell(two, THEIRS, two.theirs, "harmless now")
        mine, others = (f"{SECRET} now", "harmless") if tenant == OURS else ("harmless now", SECRET)
        stream.until(lambda one, word=mine: word in one.text)  # type: ignore[misc]  # a word of this round
        assert others not in stream.text
        stream.close()


def test_a_page_is_told_of_its_own_tenants_rows_only(two: Two) -> None:
    cookie, _ = two.session_of(THEIRS, Role.VIEWER)
    stream = Opened(two, "/fleet/stream?after=0", cookie)
    tell(two, OURS, two.ours, SECRET)
    tell(two, THEIRS, two.theirs, "harmless")
    stream.until(lambda one: f"row-{two.theirs.terminal}" in one.text)
    assert two.ours.terminal not in stream.text
    assert SECRET not in stream.text
    stream.close()


def _revoke(two: Two) -> None:
    with transaction(two.engine) as session:
        for token in session.exec(select(ApiToken).where(ApiToken.id == f"t-{OURS}-viewer")):
            token.revoked_at = utc_now()


def _expire(two: Two) -> None:
    with transaction(two.engine) as session:
        for token in session.exec(select(ApiToken).where(ApiToken.id == f"t-{OURS}-viewer")):
            token.expires_at = utc_now()


def test_a_stream_ends_within_seconds_when_its_token_is_revoked_or_ends(two: Two) -> None:
    for end in (_revoke, _expire):
        stream = Opened(two, "/api/v1/events", bearer(OURS, "viewer"))
        another = Opened(two, "/api/v1/events", bearer(OURS, "support"))
        stream.until(lambda one: one.status == 200)
        another.until(lambda one: one.status == 200)
        end(two)
        stream.until(lambda one: one.has_ended, SOON_S)
        assert not another.has_ended
        another.close()
        with transaction(two.engine) as session:
            token = session.get_one(ApiToken, f"t-{OURS}-viewer")
            token.revoked_at = token.expires_at = None
        two.app.state.token_cache._known.clear()


def _sign_out(two: Two) -> None:
    with transaction(two.engine) as session:
        person = AuthRepository(session).find_person(f"viewer.{THEIRS}")
        assert person is not None
        AuthRepository(session).remove_sessions_of(person)


def _disable(two: Two) -> None:
    with transaction(two.engine) as session:
        people = People(session, actor(Role.OPERATOR, tenant=THEIRS), utc_now())
        people.disable(people.id_of(f"viewer.{THEIRS}"))


def _lock_out_unnoticed(two: Two) -> None:
    """By a way that forgets to end the sessions."""
    with transaction(two.engine) as session:
        for person in session.exec(select(User).where(User.name == f"viewer.{THEIRS}")):
            person.disabled_at = utc_now()


def _suspend(two: Two) -> None:
    with transaction(two.engine) as session:
        TenantService(session, actor(Role.OPERATOR, tenant=OURS), utc_now()).suspend(THEIRS, "the bill")


@pytest.mark.parametrize("end", [_sign_out, _disable, _lock_out_unnoticed, _suspend])
def test_a_page_that_is_open_ends_within_seconds_when_its_session_person_or_tenant_does(
    two: Two, end: Callable[[Two], None]
) -> None:
    cookie, _ = two.session_of(THEIRS, Role.VIEWER)
    paths = ["/fleet/stream", f"/devices/{two.theirs.terminal}/stream"]
    streams = [Opened(two, path, cookie) for path in paths]
    ours = Opened(two, "/fleet/stream", two.session_of(OURS, Role.VIEWER)[0])
    for stream in (*streams, ours):
        stream.until(lambda one: "connected" in one.text)
    end(two)
    for stream in streams:
        stream.until(lambda one: one.has_ended, SOON_S)
    assert not ours.has_ended
    ours.close()
    Opened(two, "/fleet/stream", cookie).until(lambda one: one.status == 303)
