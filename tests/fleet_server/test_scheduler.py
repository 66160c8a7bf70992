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
from fleet_server.devices.models import Device
from fleet_server.executions.dispatch import BATCH, Dispatcher
from fleet_server.executions.models import Execution, IdempotencyKey
from fleet_server.executions.service import Wish
from fleet_server.ingest.models import DeadLetter, LinkStream
from fleet_server.scheduler import SPARED_AFTER_START, Scheduler
from fleet_server.tenants.repository import ensure_tenant
from fleet_server.timeline.models import Event
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY, Broker, Desk
from tests.fleet_server.factories import NOON, TENANT, Fleet, actor, add_fleet, settings
from tests.support.signing import local_signer

OTHER = "other"


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def desk(engine: Engine, tmp_path: Path) -> Desk:
    with transaction(engine) as session:
        fleet = add_fleet(session)
    dispatcher = Dispatcher(local_signer(COMMAND_KEY, APPROVER_KEY), jitter=lambda: 0.0)
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


@pytest.fixture
def other(desk: Desk) -> Fleet:
    """Devices of a second tenant, whose online command nobody has answered either."""
    with transaction(desk.engine) as session:
        ensure_tenant(session, OTHER, NOON)
        return add_fleet(session, "two", tenant=OTHER)


def ask_of(desk: Desk, tenant: str, device: str, key: str | None = None) -> str:
    with desk.opened(tenant) as service:
        return service.request(actor(tenant=tenant), Wish(device, "agent.echo", {}), NOON, key).id


def _old_letter(tenant: str, link: str) -> DeadLetter:
    long_ago = NOON - timedelta(days=40)
    return DeadLetter(
        tenant_id=tenant,
        link_id=link,
        topic_kind="urgent",
        reason="not_decodable",
        payload=b"?",
        received_at=long_ago,
    )


def _gap(tenant: str, link: str) -> LinkStream:
    stream = link[-8:].replace("-", "0").ljust(32, "5")
    row = LinkStream(link_id=link, stream=stream, tenant_id=tenant, kind="urgent", beyond=[[3, 3]], updated_at=NOON)
    row.gap_since, row.gap_first, row.gap_last = NOON, 1, 2
    return row


def test_what_is_due_is_done_for_every_tenant_under_its_own_name(
    desk: Desk, clock: Clock, scheduler: Scheduler, other: Fleet
) -> None:
    theirs, ours = ask_of(desk, OTHER, other.terminal), ask(desk)
    desk.broker.published.clear()
    clock.now += timedelta(seconds=21)
    assert scheduler.tick()
    assert {(one.execution, one.tenant) for _, one in desk.broker.commands()} == {(theirs, OTHER), (ours, TENANT)}
    with reading(desk.engine) as session:
        told = {(row.tenant_id, row.execution_id) for row in session.exec(select(Event))}
    assert told == {(OTHER, theirs), (TENANT, ours)}


def test_what_nobody_answers_ends_for_every_tenant(
    desk: Desk, clock: Clock, scheduler: Scheduler, other: Fleet
) -> None:
    runs = [ask_of(desk, OTHER, other.terminal), ask(desk)]
    for _ in range(40):
        clock.now += timedelta(seconds=30)
        scheduler.tick()
    assert [state_of(desk, run) for run in runs] == ["UNREACHABLE", "UNREACHABLE"]


def test_silence_old_letters_gaps_and_keys_are_noticed_for_every_tenant(
    desk: Desk, clock: Clock, scheduler: Scheduler, other: Fleet
) -> None:
    ask_of(desk, OTHER, other.terminal, key="k-2")
    with transaction(desk.engine) as session:
        for tenant, fleet in ((TENANT, desk.fleet), (OTHER, other)):
            session.get_one(Device, fleet.gateway).expected_by = NOON
            session.add(_old_letter(tenant, fleet.gateway))
            session.add(_gap(tenant, fleet.gateway))
    clock.now += timedelta(hours=25)
    assert scheduler.tick()
    with reading(desk.engine) as session:
        gone = {row.id for row in session.exec(select(Device).where(Device.presence == "unknown"))}
        shown = {(row.tenant_id, row.type) for row in session.exec(select(Event)) if row.type in {"gap", "presence"}}
        left = [session.exec(select(kind)).all() for kind in (IdempotencyKey, DeadLetter)]
    assert gone == {desk.fleet.gateway, desk.fleet.terminal, other.gateway, other.terminal}
    assert shown == {(tenant, kind) for tenant in (TENANT, OTHER) for kind in ("gap", "presence")}
    assert left == [[], []]


def test_a_chore_that_fails_for_one_tenant_is_done_for_the_others(
    desk: Desk, clock: Clock, scheduler: Scheduler, other: Fleet
) -> None:
    theirs, ours = ask_of(desk, OTHER, other.terminal), ask(desk)
    desk.broker.published.clear()
    scheduler._tenants()
    scheduler._of_tenant[TENANT].dispatcher = None  # type: ignore[assignment]  # a bug that shows for one tenant
    clock.now += timedelta(seconds=21)
    with capture_logs() as logs:
        assert scheduler.tick()
    assert [one.execution for _, one in desk.broker.commands()] == [theirs]
    assert [(line["chore"], line["tenant"]) for line in logs if line["log_level"] == "error"] == [
        ("executions", TENANT)
    ]
    assert ours != theirs


def test_a_heap_of_one_tenant_does_not_keep_the_others_waiting(
    desk: Desk, clock: Clock, scheduler: Scheduler, other: Fleet
) -> None:
    """Pieces are taken in turns: the other's one command leaves before the second piece of the heap."""
    for _ in range(BATCH + 1):
        ask(desk)
    theirs = ask_of(desk, OTHER, other.terminal)
    desk.broker.published.clear()
    clock.now += timedelta(seconds=21)
    scheduler.tick()
    sent = [one.execution for _, one in desk.broker.commands()]
    assert sent.index(theirs) == BATCH
    assert len(sent) == BATCH + 2
