from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlmodel import select, update

from fleet_server.audit.models import AuditAside, AuditEntry
from fleet_server.auth.errors import RoleTooLow
from fleet_server.auth.roles import Role
from fleet_server.db import reading, transaction
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.holding import hold
from fleet_server.devices.models import Device
from fleet_server.executions.errors import (
    ActionNotDeclared,
    ExecutionFinished,
    ExecutionNotFound,
    IdempotencyKeyReused,
    ParamsInvalid,
)
from fleet_server.executions.reports import DeviceReport, apply_reports
from fleet_server.executions.repository import ExecutionFilters
from fleet_server.executions.service import Wish
from fleet_server.timeline.models import Event
from protocol.authorisations import Authorisation
from protocol.commands import AUTHORISATION_TYPE, CANCEL
from protocol.executions import ExecutionState
from protocol.records import ExecutionReport, Outcome, Verdict
from tests.fleet_server.executions.conftest import APPROVER_KEY, Desk, opened
from tests.fleet_server.factories import NONCE, NOON, TENANT, actor, add_fleet

SOON = timedelta(milliseconds=5)


def go_offline(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        session.execute(update(Device).values(presence="offline"))


def test_check_of_an_online_device_is_sent_reported_and_succeeds(desk: Desk) -> None:
    with desk.opened() as service:
        asked = service.request(actor(), Wish(desk.fleet.terminal, "net.path", {"count": 2}), NOON)
        assert desk.broker.published == []  # not before the commit
    assert asked.state == "PUBLISHED"
    ((topic, command),) = desk.broker.commands()
    assert topic == f"fleet/v1/{desk.fleet.gateway}/down/command"
    assert (command.audience, command.execution, command.params) == (desk.fleet.terminal, asked.id, {"count": 2})
    assert (command.counter, command.nonce, command.authorisation) == (1, None, None)
    assert desk.wakes == [1]
    said: list[Verdict | ExecutionReport] = [
        Verdict("net.path", Outcome.WARN, execution=asked.id, value=120, unit="ms"),
        ExecutionReport(asked.id, ExecutionState.SUCCEEDED, outcome=Outcome.WARN),
    ]
    with transaction(desk.engine) as session:
        reports = [DeviceReport(desk.fleet.terminal, desk.fleet.gateway, body, NOON + SOON) for body in said]
        events = apply_reports(session, TENANT, reports, NOON + SOON)
    assert [event.type for event in events] == ["verdict", "execution"]
    with desk.opened() as service:
        done = service.get(asked.id)
    assert (done.state, done.is_final, done.outcome, done.deadline_at) == ("SUCCEEDED", True, "warn", None)
    assert done.finished_at == NOON + SOON


def test_request_of_an_offline_device_waits_with_its_expiry_and_is_cancelled_at_once(desk: Desk) -> None:
    go_offline(desk)
    with desk.opened() as service:
        asked = service.request(actor(), Wish(desk.fleet.terminal, "agent.echo", {}), NOON)
    assert (asked.state, asked.queued_until) == ("QUEUED", NOON + timedelta(minutes=15))
    assert desk.broker.commands() == []
    with desk.opened() as service:
        ended = service.cancel(actor(name="mei"), asked.id, NOON + SOON)
        assert (ended.state, ended.cancel_asked_by) == ("CANCELLED", "mei")
    with desk.opened() as service, pytest.raises(ExecutionFinished):
        service.cancel(actor(), asked.id, NOON + SOON)


def test_request_that_meets_a_hello_waits_for_it_and_is_sent(desk: Desk) -> None:
    go_offline(desk)
    asked: list[str] = []

    def ask() -> None:
        with desk.opened() as service:
            asked.append(service.request(actor(), Wish(desk.fleet.terminal, "agent.echo", {}), NOON).state)

    thread = threading.Thread(target=ask)
    with transaction(desk.engine) as session:
        hold(session, [], [desk.fleet.gateway])
        session.execute(update(Device).values(presence="online"))
        assert desk.dispatcher.take_for_link(session, TENANT, desk.fleet.gateway, NOON) == []
        thread.start()
        thread.join(0.3)
        assert asked == [], "it would be queued, and nobody would look at it before the next hello"
    thread.join()
    assert asked == ["PUBLISHED"]


def test_fix_in_a_demo_carries_the_session_nonce_and_the_permit_of_the_shift(desk: Desk) -> None:
    for _ in range(2):
        with desk.opened() as service:
            service.request(actor(), Wish(desk.fleet.gateway, "app.restart", {}), NOON)
    (_, command), (_, second) = desk.broker.commands()
    assert command.nonce == NONCE
    assert command.authorisation is not None
    assert command.authorisation == second.authorisation
    allowed = opened(command.authorisation.encode(), AUTHORISATION_TYPE, APPROVER_KEY, Authorisation)
    assert allowed.targets == [desk.fleet.gateway]
    assert [grant.action for grant in allowed.grants] == ["app.restart", "printer.print_test"]
    assert (allowed.kind, command.requester) == ("shift_permit", "lin")


def test_reason_to_override_lets_a_fix_run_although_nothing_seems_wrong(desk: Desk) -> None:
    with desk.opened() as service:
        service.request(actor(), Wish(desk.fleet.gateway, "app.restart", {}, "merchant insists"), NOON)
    ((_, command),) = desk.broker.commands()
    assert command.skip_if_passing is False


def test_cancel_of_a_sent_execution_asks_the_device_whose_answer_decides(desk: Desk) -> None:
    with desk.opened() as service:
        asked = service.request(actor(), Wish(desk.fleet.terminal, "net.path", {}), NOON)
    with desk.opened() as service:
        assert service.cancel(actor(), asked.id, NOON + SOON).state == "PUBLISHED"
    _, command = desk.broker.commands()[-1]
    assert (command.action, command.params) == (CANCEL, {"execution": asked.id})
    assert command.execution != asked.id
    assert command.counter == 2


def test_every_counter_is_given_out_once(desk: Desk) -> None:
    for _ in range(5):
        with desk.opened() as service:
            service.request(actor(), Wish(desk.fleet.terminal, "agent.echo", {}), NOON)
    assert [command.counter for _, command in desk.broker.commands()] == [1, 2, 3, 4, 5]


def test_nothing_is_published_when_the_transaction_fails(desk: Desk) -> None:
    def ask_and_fail() -> None:
        with desk.opened() as service:
            service.request(actor(), Wish(desk.fleet.terminal, "agent.echo", {}), NOON)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        ask_and_fail()
    assert desk.broker.published == []
    with desk.opened() as service:
        assert service.list(ExecutionFilters(), None, 10).items == []


def test_request_stays_queued_while_this_process_has_no_broker(desk: Desk) -> None:
    desk.broker.is_connected = False
    with desk.opened() as service:
        asked = service.request(actor(), Wish(desk.fleet.terminal, "agent.echo", {}), NOON)
    assert asked.state == "QUEUED"
    assert asked.deadline_at is not None
    assert asked.deadline_at < asked.queued_until  # somebody looks again before the queue's end


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (("agent.unheard_of", {}), ActionNotDeclared),
        (("net.path", {"count": 10}), ParamsInvalid),
        (("net.path", {"count": True}), ParamsInvalid),
        (("net.path", {"strange": 1}), ParamsInvalid),
        (("app.install", {}), ParamsInvalid),
    ],
)
def test_what_the_device_did_not_declare_is_refused(
    desk: Desk, wish: tuple[str, dict[str, bool | int]], error: type[Exception]
) -> None:
    action, params = wish
    with pytest.raises(error), desk.opened() as service:
        service.request(actor(Role.OPERATOR), Wish(desk.fleet.terminal, action, dict(params)), NOON)


def test_roles_decide_who_may_ask_for_what(desk: Desk) -> None:
    asks = [("agent.echo", Role.VIEWER), ("printer.print_test", Role.TECHNICIAN), ("app.restart", Role.TECHNICIAN)]
    for action, role in asks:
        with pytest.raises(RoleTooLow), desk.opened() as service:
            service.request(actor(role), Wish(desk.fleet.terminal, action, {}), NOON)
    with desk.opened() as service:
        asked = service.request(actor(Role.TECHNICIAN), Wish(desk.fleet.terminal, "agent.echo", {}), NOON)
    with pytest.raises(RoleTooLow), desk.opened() as service:
        service.cancel(actor(Role.VIEWER), asked.id, NOON)


def test_another_tenants_device_and_execution_are_not_known(desk: Desk) -> None:
    with desk.opened() as service:
        asked = service.request(actor(), Wish(desk.fleet.terminal, "agent.echo", {}), NOON)
    with pytest.raises(DeviceNotFound), desk.opened("other") as service:
        service.request(actor(tenant="other"), Wish(desk.fleet.terminal, "agent.echo", {}), NOON)
    with pytest.raises(ExecutionNotFound), desk.opened("other") as service:
        service.get(asked.id)
    with pytest.raises(ExecutionNotFound), desk.opened("other") as service:
        service.cancel(actor(tenant="other"), asked.id, NOON)


def test_same_idempotency_key_answers_the_same_execution_for_a_day(desk: Desk) -> None:
    wish = Wish(desk.fleet.terminal, "agent.echo", {})
    with desk.opened() as service:
        first = service.request(actor(), wish, NOON, "k1")
    with desk.opened() as service:
        assert service.request(actor(), wish, NOON + SOON, "k1").id == first.id
        assert service.request(actor(name="mei"), wish, NOON, "k1").id != first.id
    with pytest.raises(IdempotencyKeyReused), desk.opened() as service:
        service.request(actor(), Wish(desk.fleet.gateway, "agent.echo", {}), NOON, "k1")
    with desk.opened() as service:
        assert service.request(actor(), wish, NOON + timedelta(hours=25), "k1").id != first.id


def test_request_is_in_the_timeline_and_the_audit_with_its_author(desk: Desk) -> None:
    with desk.opened() as service:
        asked = service.request(actor(name="mei"), Wish(desk.fleet.terminal, "net.path", {}), NOON)
    with reading(desk.engine) as session:
        (event,) = session.exec(select(Event)).all()
        (entry,) = session.exec(select(AuditEntry)).all()
    assert (event.type, event.execution_id, event.actor) == ("execution", asked.id, "mei")
    assert event.data["state"] == "PUBLISHED"
    assert (entry.actor, entry.action, entry.target) == ("person:id-mei", "execution_requested", desk.fleet.terminal)
    assert entry.data["params"] == {"count": 3}


def test_executions_are_listed_newest_first_in_pages(desk: Desk) -> None:
    ids = []
    for number in range(5):
        with desk.opened() as service:
            wish = Wish(desk.fleet.terminal if number % 2 else desk.fleet.gateway, "agent.echo", {})
            ids.append(service.request(actor(), wish, NOON + number * SOON).id)
    with desk.opened() as service:
        first = service.list(ExecutionFilters(), None, 3)
        rest = service.list(ExecutionFilters(), first.next, 3)
        of_terminal = service.list(ExecutionFilters(device=desk.fleet.terminal), None, 10)
        none = service.list(ExecutionFilters(state=ExecutionState.FAILED), None, 10)
    assert [item.id for item in [*first.items, *rest.items]] == ids[::-1]
    assert rest.next is None
    assert [item.id for item in of_terminal.items] == [ids[3], ids[1]]
    assert none.items == []


def test_executions_of_two_fleets_do_not_mix(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        other = add_fleet(session, "two", tenant="other")
    with desk.opened() as service:
        service.request(actor(), Wish(desk.fleet.terminal, "agent.echo", {}), NOON)
    with desk.opened("other") as service:
        assert service.list(ExecutionFilters(device=other.terminal), None, 10).items == []


def test_card_data_among_parameters_is_refused_and_in_a_reason_masked(desk: Desk) -> None:
    with desk.opened() as service:
        with pytest.raises(ParamsInvalid) as refused:
            service.request(actor(), Wish(desk.fleet.terminal, "net.path", {"count": 4111111111111111}), NOON)
        assert "4111" not in str(refused.value)
        wish = Wish(desk.fleet.terminal, "net.path", {"count": 2}, "customer's card 4111111111111111")
        assert service.request(actor(), wish, NOON).override_reason == "customer's card [PAN …1111]"
    with reading(desk.engine) as session:
        assert "4111111111111111" not in str([entry.data for entry in session.exec(select(AuditEntry))])
        (aside,) = session.exec(select(AuditAside)).all()
        assert aside.document == {"override": "customer's card [PAN …1111]"}
