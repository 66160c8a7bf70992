from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select, update

from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device
from fleet_server.executions.dispatch import Dispatcher, Outgoing
from fleet_server.executions.models import Execution
from fleet_server.executions.reports import DeviceReport, apply_reports
from fleet_server.executions.service import Wish
from fleet_server.signer.errors import ClockWentBack, SignerUnreachable
from fleet_server.signer.messages import (
    JournalPage,
    NewPolicy,
    Order,
    ReleaseKeys,
    Resume,
    SignedRelease,
    SignRelease,
    Standing,
    Stop,
)
from fleet_server.timeline.models import Event
from fleet_server.timeline.writer import append_events
from protocol.commands import CANCEL, COMMAND_TYPE, Command
from protocol.executions import ExecutionState
from protocol.records import ExecutionReport
from protocol.signing import Policy
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY, Desk, opened
from tests.fleet_server.factories import NOON, TENANT, actor
from tests.support.signing import local_signer

MINUTE = timedelta(minutes=1)


def set_presence(desk: Desk, presence: str, nonce: str = "cd" * 16) -> None:
    with transaction(desk.engine) as session:
        session.execute(update(Device).values(presence=presence))
        session.execute(update(Device).where(Device.id == desk.fleet.gateway).values(nonce=nonce))  # type: ignore[arg-type]  # SQLModel types columns as values


def ask(desk: Desk, action: str = "net.path", now: datetime = NOON) -> str:
    with desk.opened() as service:
        return service.request(actor(), Wish(desk.fleet.terminal, action, {}), now).id


def state_of(desk: Desk, execution_id: str) -> str:
    with reading(desk.engine) as session:
        found = session.get(Execution, execution_id)
        assert found is not None
        return found.state


def hello(desk: Desk, now: datetime) -> list[Command]:
    with transaction(desk.engine) as session:
        return commands(desk.dispatcher.take_for_link(session, TENANT, desk.fleet.gateway, now))


def sweep(desk: Desk, now: datetime, *, spare_started: bool = False) -> list[Command]:
    with transaction(desk.engine) as session:
        taken = desk.dispatcher.take_overdue(session, TENANT, now, spare_started=spare_started)
        events = [message.event for message in taken.outgoing if message.event is not None]
        append_events(session, TENANT, [*events, *taken.events], now)
    return commands(taken.outgoing)


def commands(outgoing: list[Outgoing]) -> list[Command]:
    return [opened(message.payload, COMMAND_TYPE, COMMAND_KEY, Command) for message in outgoing]


def hear(desk: Desk, execution_id: str, state: ExecutionState, now: datetime, device: str = "") -> None:
    body = ExecutionReport(execution_id, state)
    with transaction(desk.engine) as session:
        report = DeviceReport(device or desk.fleet.terminal, desk.fleet.gateway, body, now)
        append_events(session, TENANT, apply_reports(session, TENANT, [report], now), now)


def test_what_was_queued_offline_is_sent_at_the_next_hello_once_and_in_order(desk: Desk) -> None:
    set_presence(desk, "offline")
    first, second = ask(desk), ask(desk, "app.restart", NOON + MINUTE)
    set_presence(desk, "online")
    sent = hello(desk, NOON + 2 * MINUTE)
    assert [command.execution for command in sent] == [first, second]
    assert [command.nonce for command in sent] == [None, "cd" * 16]
    assert hello(desk, NOON + 2 * MINUTE) == []
    assert state_of(desk, first) == "PUBLISHED"


def test_hello_sends_again_what_the_last_connection_lost_but_not_what_is_stored(desk: Desk) -> None:
    lost, stored = ask(desk), ask(desk)
    hear(desk, stored, ExecutionState.STORED, NOON)
    assert [command.execution for command in hello(desk, NOON + MINUTE)] == [lost]


def test_wish_to_cancel_is_told_again_at_hello(desk: Desk) -> None:
    running = ask(desk)
    hear(desk, running, ExecutionState.RUNNING, NOON)
    with desk.opened() as service:
        service.cancel(actor(), running, NOON)
    (told,) = hello(desk, NOON + MINUTE)
    assert (told.action, told.params) == (CANCEL, {"execution": running})


def test_sweep_sends_again_what_was_not_stored_in_time(desk: Desk) -> None:
    lost = ask(desk)
    assert sweep(desk, NOON + timedelta(seconds=19)) == []
    assert [command.execution for command in sweep(desk, NOON + timedelta(seconds=21))] == [lost]
    with reading(desk.engine) as session:
        (_, again) = session.exec(select(Event).order_by(Event.id)).all()  # type: ignore[arg-type]  # SQLModel types columns as values
    assert again.data["attempt"] == 2


def test_sweep_ends_what_expired_or_went_silent_and_says_so_in_the_timeline(desk: Desk) -> None:
    running = ask(desk)
    hear(desk, running, ExecutionState.RUNNING, NOON)
    set_presence(desk, "offline")
    queued = ask(desk)
    later = NOON + timedelta(minutes=16)
    assert sweep(desk, later, spare_started=True) == []
    assert (state_of(desk, running), state_of(desk, queued)) == ("RUNNING", "EXPIRED")
    sweep(desk, later)
    assert state_of(desk, running) == "TIMED_OUT"
    with reading(desk.engine) as session:
        states = [event.data["state"] for event in session.exec(select(Event).order_by(Event.id))]  # type: ignore[arg-type]  # as above
    assert states[-2:] == ["EXPIRED", "TIMED_OUT"]


def test_sweep_puts_what_cannot_be_sent_back_into_the_queue(desk: Desk) -> None:
    lost = ask(desk)
    set_presence(desk, "offline")
    assert sweep(desk, NOON + MINUTE) == []
    assert state_of(desk, lost) == "QUEUED"
    set_presence(desk, "online")
    assert [command.execution for command in hello(desk, NOON + 2 * MINUTE)] == [lost]


def test_without_a_broker_nothing_is_called_sent_and_the_queue_still_ends(desk: Desk) -> None:
    lost = ask(desk)
    with transaction(desk.engine) as session:
        taken = desk.dispatcher.take_overdue(session, TENANT, NOON + MINUTE, can_send=False)
    assert taken.outgoing == []
    assert state_of(desk, lost) == "QUEUED"
    with transaction(desk.engine) as session:
        desk.dispatcher.take_overdue(session, TENANT, NOON + 16 * MINUTE, can_send=False)
    assert state_of(desk, lost) == "UNREACHABLE"


def test_what_waits_for_a_retired_device_ends_and_holds_nothing_up(desk: Desk) -> None:
    orphan = ask(desk)
    with desk.opened() as service:
        other = service.request(actor(), Wish(desk.fleet.gateway, "agent.echo", {}), NOON).id
    with transaction(desk.engine) as session:
        row = session.get(Device, desk.fleet.terminal)
        assert row is not None
        row.retired_at = NOON
    assert [command.execution for command in sweep(desk, NOON + MINUTE)] == [other]
    # It was sent: what the device did with it nobody will say.
    assert state_of(desk, orphan) == "UNREACHABLE"


def test_device_that_speaks_about_anothers_execution_changes_nothing_and_is_noted(desk: Desk) -> None:
    asked = ask(desk)
    hear(desk, asked, ExecutionState.SUCCEEDED, NOON, device=desk.fleet.gateway)
    assert state_of(desk, asked) == "PUBLISHED"
    with reading(desk.engine) as session:
        noted = session.exec(select(Event).where(Event.type == "security")).one()
    assert noted.device_id == desk.fleet.gateway


def test_word_on_an_execution_that_is_not_in_the_ledger_is_kept_as_evidence(desk: Desk) -> None:
    hear(desk, "0198d0a0-0000-7000-8000-000000000009", ExecutionState.SUCCEEDED, NOON)
    with reading(desk.engine) as session:
        (event,) = session.exec(select(Event)).all()
    assert event.data["late"] is True


def test_nothing_is_signed_while_the_clock_is_behind_the_records(desk: Desk) -> None:
    ask(desk)
    back = NOON - timedelta(hours=2)
    with pytest.raises(ClockWentBack):
        ask(desk, now=back)


class Away:
    """The way to a signer that does not answer."""

    demo_approver = None

    def __init__(self) -> None:
        self.asked = 0

    def sign(self, order: Order, now: datetime) -> bytes:
        self.asked += 1
        raise SignerUnreachable("the signer does not answer")

    def policy(self, now: datetime) -> Policy:
        raise SignerUnreachable("the signer does not answer")

    def standing(self, now: datetime) -> Standing:
        raise SignerUnreachable("the signer does not answer")

    def stop(self, asked: Stop, now: datetime) -> None:
        raise SignerUnreachable("the signer does not answer")

    def resume(self, asked: Resume, now: datetime) -> None:
        raise SignerUnreachable("the signer does not answer")

    def take_policy(self, asked: NewPolicy, now: datetime) -> None:
        raise SignerUnreachable("the signer does not answer")

    def release_keys(self, *, following: bool = False) -> ReleaseKeys:
        raise SignerUnreachable("the signer does not answer")

    def sign_release(self, asked: SignRelease, now: datetime) -> SignedRelease:
        raise SignerUnreachable("the signer does not answer")

    def journal(self, after: int, limit: int = 1) -> JournalPage:
        raise SignerUnreachable("the signer does not answer")

    def close(self) -> None:
        """Nothing is open."""


def test_what_is_asked_while_the_signer_is_away_waits_says_why_and_is_sent_later(desk: Desk, tmp_path: Path) -> None:
    signing, desk.dispatcher = desk.dispatcher, Dispatcher(Away())
    with desk.opened() as service:
        asked = service.request(actor(), Wish(desk.fleet.terminal, "net.path", {}), NOON)
    assert (asked.state, asked.code, desk.broker.commands()) == ("QUEUED", "signer_unreachable", [])
    with transaction(desk.engine) as session:
        assert desk.dispatcher.take_overdue(session, TENANT, NOON + timedelta(seconds=6)).outgoing == []
    assert state_of(desk, asked.id) == "QUEUED"
    with transaction(desk.engine) as session:
        sent = signing.take_overdue(session, TENANT, NOON + timedelta(seconds=12)).outgoing
    assert len(sent) == 1
    with desk.opened() as service:
        assert (service.get(asked.id).state, service.get(asked.id).code) == ("PUBLISHED", "")


def test_a_silent_signer_is_asked_once_for_all_that_waits(desk: Desk, tmp_path: Path) -> None:
    set_presence(desk, "offline")
    for _ in range(5):
        ask(desk)
    set_presence(desk, "online")
    away = Away()
    with transaction(desk.engine) as session:
        assert Dispatcher(away).take_for_link(session, TENANT, desk.fleet.gateway, NOON + MINUTE) == []
    assert away.asked == 1


def test_change_waits_unsent_where_nobody_can_authorise_it(desk: Desk, tmp_path: Path) -> None:
    set_presence(desk, "offline")
    waiting = ask(desk, "app.restart")
    set_presence(desk, "online")
    powerless = Dispatcher(local_signer(COMMAND_KEY, None))
    with transaction(desk.engine) as session:
        assert powerless.take_for_link(session, TENANT, desk.fleet.gateway, NOON + MINUTE) == []
    assert state_of(desk, waiting) == "QUEUED"
    assert APPROVER_KEY.id != COMMAND_KEY.id
