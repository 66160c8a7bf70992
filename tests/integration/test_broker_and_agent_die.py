"""When broker and agent die together no will ever comes: only that nothing is heard any more tells it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from fleet_server.db import reading, transaction
from fleet_server.devices.apply import sweep_presence
from fleet_server.devices.models import Device
from fleet_server.ingest.installation import listening_s
from fleet_server.kit.times import utc_now
from fleet_server.timeline.writer import append_events
from protocol.records import Outcome, Verdict
from tests.support.broker import Broker, running_broker
from tests.support.fleet_rows import OTHER, TENANT, TERMINAL
from tests.support.ingest_worker import fleet_on_sqlite, running_ingest, settings_for, worker_on
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration
REPORT_S, KEEPALIVE_S = 2.0, 2.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with fleet_on_sqlite(tmp_path) as opened:
        yield opened


@pytest.fixture
def _ingest(broker: Broker, engine: Engine, tmp_path: Path) -> Iterator[None]:
    with running_ingest(worker_on(engine, settings_for(broker, tmp_path))):
        yield


def presence(engine: Engine, link: str) -> tuple[str, str]:
    table = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
    with reading(engine) as session:
        row = session.execute(select(table.c.presence, table.c.presence_reason).where(table.c.id == link)).one()
    return row.presence, row.presence_reason


def sweep(engine: Engine) -> None:
    """The scheduler's chore."""
    now = utc_now()
    with transaction(engine) as session:
        append_events(session, TENANT, sweep_presence(session, TENANT, now, listening_s(session, now)), now)


def greet(broker: Broker, stack: ExitStack, link: str) -> WireAgent:
    agent = WireAgent(broker, link)
    agent.connect()
    stack.callback(agent.close)
    nonce, asked = "", 0.0

    def is_welcome() -> bool:
        nonlocal nonce, asked
        if time.monotonic() - asked > 2.0:
            asked = time.monotonic()
            nonce = agent.hello(nonce=nonce or None, report_s=REPORT_S, keepalive_s=KEEPALIVE_S)
        return any(one.nonce == nonce for one in agent.heard.welcomes)

    until(is_welcome, "a welcome")
    return agent


@pytest.mark.usefixtures("_ingest")
def test_an_agent_that_died_with_the_broker_is_not_heard_since_and_one_that_greets_again_is_online(
    broker: Broker, engine: Engine
) -> None:
    with ExitStack() as stack:
        lost = greet(broker, stack, TERMINAL)
        before = greet(broker, stack, OTHER)
        assert [presence(engine, link)[0] for link in (TERMINAL, OTHER)] == ["online", "online"]
        broker.process.kill()
        # Their goodbyes find nobody.
        lost.close()
        before.close()
        broker.restart(kill=True)
        back = greet(broker, stack, OTHER)

        def is_missed() -> bool:
            back.send(Verdict("net.path", Outcome.PASS))
            time.sleep(0.2)
            sweep(engine)
            return presence(engine, TERMINAL)[0] != "online"

        until(is_missed, "the link that died to be missed", deadline_s=30)
        assert presence(engine, TERMINAL) == ("unknown", "not_heard"), "no will came"
        assert presence(engine, OTHER)[0] == "online"
