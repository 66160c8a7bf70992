from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select
from structlog.testing import capture_logs

from fleet_server.db import reading, transaction
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.models import Execution, IdempotencyKey
from fleet_server.executions.service import Wish
from fleet_server.scheduler import SPARED_AFTER_START, Scheduler
from fleet_server.timeline.models import Event
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY, Broker, Desk
from tests.fleet_server.factories import NOON, actor, add_fleet, settings
from tests.support.signing import local_signer


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def desk(engine: Engine, tmp_path: Path) -> Desk:
    with transaction(engine) as session:
        fleet = add_fleet(session)
    dispatcher = Dispatcher(local_signer(COMMAND_KEY, APPROVER_KEY), settings(tmp_path), jitter=lambda: 0.0)
    return Desk(engine, fleet, Broker(), dispatcher)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(desk: Desk, clock: Clock, tmp_path: Path) -> Iterator[Scheduler]:
    made = Scheduler(desk.engine, settings(tmp_path), desk.dispatcher, desk.broker, clock)
    yield made
    made._leadership.give_up()


def ask(desk: Desk, key: str | None = None) -> str:
    with desk.opened() as service:
        return service.request(actor(), Wish(desk.fleet.terminal, "agent.echo", {}), NOON, key).id


def state_of(desk: Desk, execution_id: str) -> str:
    with reading(desk.engine) as session:
        return session.exec(select(Execution.state).where(Execution.id == execution_id)).one()


def test_lost_command_is_published_again_after_its_commit_and_hinted(
    desk: Desk, clock: Clock, scheduler: Scheduler
) -> None:
    execution = ask(desk)
    desk.broker.published.clear()
    clock.now += timedelta(seconds=21)
    assert scheduler.tick()
    ((_, command),) = desk.broker.commands()
    assert command.execution == execution
    assert desk.broker.published[-1][0] == "svc/v1/events"


def test_what_nobody_answers_ends_as_unreachable(desk: Desk, clock: Clock, scheduler: Scheduler) -> None:
    execution = ask(desk)
    for _ in range(40):
        clock.now += timedelta(seconds=30)
        scheduler.tick()
    assert state_of(desk, execution) == "UNREACHABLE"
    with reading(desk.engine) as session:
        last = session.exec(select(Event).order_by(Event.id.desc())).first()  # type: ignore[union-attr]  # SQLModel types columns as values
    assert last is not None
    assert last.data["state"] == "UNREACHABLE"


def test_two_schedulers_do_the_work_once_and_the_second_takes_over(
    desk: Desk, clock: Clock, scheduler: Scheduler, tmp_path: Path
) -> None:
    second = Scheduler(desk.engine, settings(tmp_path), desk.dispatcher, desk.broker, clock)
    assert scheduler.tick()
    assert not second.tick()
    scheduler._leadership.give_up()
    assert second.tick()
    second._leadership.give_up()


def test_chore_that_fails_keeps_no_other_from_its_turn(desk: Desk, clock: Clock, scheduler: Scheduler) -> None:
    ask(desk, key="k-1")

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    scheduler._chores[0].work = broken  # type: ignore[assignment]  # a chore with a bug
    clock.now += timedelta(hours=25)
    with capture_logs() as logs:
        assert scheduler.tick()
    assert [line["chore"] for line in logs if line["log_level"] == "error"] == ["executions"]
    with reading(desk.engine) as session:
        assert session.exec(select(IdempotencyKey)).all() == []


def test_what_was_started_is_spared_right_after_a_start(desk: Desk, clock: Clock, scheduler: Scheduler) -> None:
    execution = ask(desk)
    with transaction(desk.engine) as session:
        row = session.get(Execution, execution)
        assert row is not None
        row.state, row.deadline_at = "RUNNING", NOON
    clock.now += timedelta(minutes=5)
    scheduler.tick()
    assert state_of(desk, execution) == "RUNNING"
    clock.now += SPARED_AFTER_START
    scheduler.tick()
    assert state_of(desk, execution) == "TIMED_OUT"


def test_run_ends_when_it_is_told_to(scheduler: Scheduler) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=scheduler.run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
