"""A worker that dies without a word keeps nothing back: the broker gives nothing to a session that nobody reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine

from protocol import codec
from protocol.broker_rules import INGEST_NAMES
from protocol.records import Outcome, Verdict
from protocol.streams import RESEND_FIRST_S
from tests.support.broker import running_broker
from tests.support.fleet_rows import OTHER, TERMINAL
from tests.support.ingest_worker import (
    fleet_on_sqlite,
    listening_workers,
    running_ingest,
    settings_for,
    start_ingest,
    worker_on,
)
from tests.support.wire_agent import WireAgent, until

pytestmark = pytest.mark.integration
VERDICT = Verdict("net.path", Outcome.PASS)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with fleet_on_sqlite(tmp_path) as opened:
        yield opened


def test_what_comes_after_the_death_of_a_worker_is_taken_by_the_others_at_once(engine: Engine, tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(tmp_path / "broker"))
        settings = settings_for(broker, tmp_path, str(engine.url))
        dying = start_ingest(settings)
        stack.callback(dying.kill)
        staying = worker_on(engine, settings, name=INGEST_NAMES[1])
        stack.enter_context(running_ingest(staying))
        busy, quiet = WireAgent(broker, TERMINAL), WireAgent(broker, OTHER)
        for agent in (busy, quiet):
            agent.connect()
            stack.callback(agent.close)
        until(lambda: len(listening_workers(engine)) == 2, "both workers to listen")
        for _ in range(300):
            last = busy.send(VERDICT)
        dying.kill()
        dying.wait()
        # The broker sees the closed socket in its next turn.
        time.sleep(0.5)
        for _ in range(60):
            until_here = quiet.send(VERDICT)
        began_s = time.monotonic()
        quiet.await_ack(until_here)
        assert time.monotonic() - began_s < 10, "less than the timer after which agents send again"
        # What the dead one had taken is with its sender, whose timer sends it again: once is enough.
        first = busy.acked() + 1
        for one in range(first, last + 1):
            busy.send_at(one, [codec.to_json(busy.record(VERDICT))])
        busy.await_ack(last)


def test_a_broker_that_was_killed_and_is_back_holds_nothing_up_for_longer_than_senders_wait(
    engine: Engine, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(tmp_path / "broker"))
        settings = settings_for(broker, tmp_path, str(engine.url))
        worker = worker_on(engine, settings)
        stack.enter_context(running_ingest(worker))
        agent = WireAgent(broker, TERMINAL)
        agent.connect()
        agent.await_ack(agent.send(VERDICT))
        agent.vanish()
        for _ in range(2):
            broker.process.kill()
            broker.process.wait()
            until(lambda: not worker._door.is_open, "the worker to notice")
            broker.restart(kill=True)
            back_s = time.monotonic()
            agent = WireAgent(broker, TERMINAL, seed=int(back_s))
            agent.connect()
            last = agent.send(VERDICT)
            until(lambda: agent.acked() >= last or _again(agent, last), "an acknowledgement", RESEND_FIRST_S)  # noqa: B023 - called before the next turn
            assert time.monotonic() - back_s < RESEND_FIRST_S
            agent.vanish()


def _again(agent: WireAgent, last: int) -> bool:
    """What came while nobody listened is nowhere: the broker keeps nothing for a session that is over."""
    agent.send_at(last, [codec.to_json(agent.record(VERDICT))])
    time.sleep(0.3)
    return agent.acked() >= last
