"""Two tenants on one installation, end to end: two links over a real broker, two programs, two consoles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlmodel import Session

from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.roles import Role
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from fleet_server.tenants.repository import ensure_tenant
from protocol.records import Outcome, Verdict
from tests.fleet_server.api import OTHER_TENANT, bearer
from tests.fleet_server.factories import TENANT, Fleet, add_fleet
from tests.integration.server.conftest import Server, answer, command_in
from tests.integration.server.event_stream import followed
from tests.support.broker import Broker
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration
CALLERS = {TENANT: "operator", OTHER_TENANT: "stranger"}


@dataclass
class Side:
    """What one of the two has: its devices, its program, somebody at the console, the gateway's link."""

    tenant: str
    fleet: Fleet
    http: httpx2.Client
    console: httpx2.Client
    agent: WireAgent

    def devices(self) -> set[str]:
        return {one["id"] for one in self.http.get("/api/v1/devices").json()["items"]}

    def ask(self, device: str) -> httpx2.Response:
        return self.http.post("/api/v1/executions", json={"device": device, "action": "agent.echo"})

    def letters(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/api/v1/dead-letters").json()["items"]
        return found


def sign_in(session: Session, tenant: str) -> dict[str, str]:
    now, secret = utc_now(), f"secret-{tenant}"
    person = User(
        id=f"p-{tenant}", tenant_id=tenant, name=f"lin-{tenant}", password_hash="", role=Role.VIEWER, created_at=now
    )
    session.add(person)
    session.flush()
    session.add(
        LoginSession(
            id_sha256=hashlib.sha256(secret.encode()).hexdigest(),
            tenant_id=tenant,
            user_id=person.id,
            csrf="c",
            created_at=now,
            last_used_at=now,
            expires_at=now + timedelta(hours=1),
        )
    )
    return {"Cookie": f"tillmedic={secret}"}


@pytest.fixture
def sides(broker: Broker, server: Server) -> Iterator[tuple[Side, Side]]:
    with transaction(server.engine) as session:
        fleets = {
            TENANT: server.fleet,
            OTHER_TENANT: add_fleet(session, "two", tenant=OTHER_TENANT, presence="unknown"),
        }
        for tenant in fleets:
            ensure_tenant(session, tenant, utc_now())
        cookies = {tenant: sign_in(session, tenant) for tenant in fleets}
    with ExitStack() as stack:
        made = []
        for tenant, fleet in fleets.items():
            http = httpx2.Client(base_url=server.url, headers=bearer(CALLERS[tenant]), timeout=20)
            console = httpx2.Client(base_url=server.url, headers=cookies[tenant], timeout=20)
            agent = WireAgent(broker, fleet.gateway, attached=(fleet.terminal,))
            stack.callback(agent.close)
            made.append(Side(tenant, fleet, stack.enter_context(http), stack.enter_context(console), agent))
        yield made[0], made[1]


def is_verdict_of(run: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["type"] == "verdict" and event["execution"] == run


def test_each_sees_runs_and_hears_its_own_and_nothing_of_the_other(server: Server, sides: tuple[Side, Side]) -> None:
    commanded: dict[str, set[str]] = {}
    for side in sides:

        def on_command(payload: bytes, side: Side = side) -> None:
            command = command_in(payload)
            commanded.setdefault(side.tenant, set()).add(command.tenant)
            answer(side.agent, command)

        side.agent.on_command = on_command
        side.agent.connect()
        side.agent.greet()
    with ExitStack() as stack:
        streams = [
            stack.enter_context(followed(server.url, "/api/v1/events", bearer(CALLERS[side.tenant]), 0))
            for side in sides
        ]
        runs = []
        for side, stream in zip(sides, streams, strict=True):
            asked = side.ask(side.fleet.terminal)
            assert asked.status_code == 201, asked.text
            run = asked.json()["id"]
            runs.append(run)
            stream.await_first(is_verdict_of(run), "the verdict")
        for side, stream, other in zip(sides, streams, reversed(sides), strict=True):
            heard = {event["device"] for _, event in list(stream.events)}
            assert side.fleet.terminal in heard
            assert not heard & {other.fleet.gateway, other.fleet.terminal}
    assert commanded == {side.tenant: {side.tenant} for side in sides}
    for side, other, theirs in zip(sides, reversed(sides), reversed(runs), strict=True):
        assert side.devices() == {side.fleet.gateway, side.fleet.terminal}
        assert side.ask(other.fleet.terminal).status_code == 404
        assert side.http.get(f"/api/v1/executions/{theirs}").status_code == 404
        page = side.console.get("/").text
        assert (side.fleet.terminal in page, other.fleet.terminal in page) == (True, False)
        assert side.console.get(f"/devices/{other.fleet.terminal}").status_code == 404
        assert side.console.get(f"/runs/{theirs}").status_code == 404


def test_a_link_that_speaks_of_the_others_terminal_reaches_its_own_letters_only(
    server: Server, sides: tuple[Side, Side]
) -> None:
    ours, theirs = sides
    ours.agent.connect()
    ours.agent.greet()
    before = theirs.http.get(f"/api/v1/devices/{theirs.fleet.terminal}/timeline").json()
    ours.agent.send(Verdict("agent.echo", Outcome.PASS, value=1, unit="ms"), device=theirs.fleet.terminal)
    until(ours.letters, "the letter of what was not its to say")
    assert {one["link"] for one in ours.letters()} == {ours.fleet.gateway}
    assert theirs.letters() == []
    assert theirs.http.get(f"/api/v1/devices/{theirs.fleet.terminal}/timeline").json() == before
