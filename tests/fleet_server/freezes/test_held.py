"""What a freeze holds on its way to the device: what was queued before it, and what was approved in it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlmodel import select

from fleet_server.db import reading, transaction
from fleet_server.executions.models import Execution
from fleet_server.executions.service import Wish
from fleet_server.freezes.errors import FreezeInForce
from fleet_server.freezes.gate import require_start
from fleet_server.freezes.models import Freeze
from protocol.commands import Command, DangerClass
from tests.fleet_server.executions.conftest import Desk
from tests.fleet_server.executions.test_dispatch import hello, set_presence, sweep
from tests.fleet_server.factories import NOON, TENANT, actor

MINUTE = timedelta(minutes=1)
BEGINS, ENDS = NOON + MINUTE, NOON + 60 * MINUTE


def freeze(desk: Desk, begins_at: datetime = BEGINS, ends_at: datetime = ENDS) -> None:
    with transaction(desk.engine) as session:
        row = Freeze(
            id="f-1",
            tenant_id=TENANT,
            begins_at=begins_at,
            ends_at=ends_at,
            reason="National Day",
            created_by="boss",
            created_at=NOON,
        )
        session.merge(row)


def queued(desk: Desk, action: str = "app.restart", *, is_planned: bool = True) -> str:
    """Asked for while the device is away."""
    set_presence(desk, "offline")
    with desk.opened() as service:
        wish = Wish(desk.fleet.terminal, action, {}, is_planned=is_planned)
        return service.request(actor(), wish, NOON).id


def row_of(desk: Desk, execution_id: str) -> Execution:
    with reading(desk.engine) as session:
        return session.exec(select(Execution).where(Execution.id == execution_id)).one()


def names(commands: list[Command]) -> list[str]:
    return [one.action for one in commands]


def test_what_was_queued_before_a_freeze_waits_in_it_says_why_and_is_sent_after_it(desk: Desk) -> None:
    run = queued(desk)
    freeze(desk)
    set_presence(desk, "online")
    assert hello(desk, NOON + 2 * MINUTE) == []
    row = row_of(desk, run)
    assert (row.state, row.code) == ("QUEUED", "freeze_in_force")
    assert "National Day" in row.detail
    assert row.deadline_at == NOON + 7 * MINUTE
    assert sweep(desk, ENDS - MINUTE) == []
    assert names(sweep(desk, ENDS + 6 * MINUTE)) == ["app.restart"]
    assert (row_of(desk, run).state, row_of(desk, run).code) == ("PUBLISHED", "")


@pytest.mark.parametrize("presence", ["online", "offline"])
def test_what_is_asked_for_in_a_freeze_is_refused_and_not_queued(desk: Desk, presence: str) -> None:
    freeze(desk, begins_at=NOON)
    set_presence(desk, presence)
    with desk.opened() as service, pytest.raises(FreezeInForce, match="National Day"):
        service.request(actor(), Wish(desk.fleet.terminal, "app.restart", {}, is_planned=True), NOON)
    with reading(desk.engine) as session:
        assert session.exec(select(Execution)).all() == []


def test_one_that_is_ended_early_lets_go_what_it_held(desk: Desk) -> None:
    queued(desk)
    freeze(desk)
    set_presence(desk, "online")
    assert hello(desk, NOON + 2 * MINUTE) == []
    freeze(desk, ends_at=NOON + 3 * MINUTE)
    assert names(sweep(desk, NOON + 8 * MINUTE)) == ["app.restart"]


def test_what_a_person_asked_of_one_device_and_what_only_looks_is_not_held(desk: Desk) -> None:
    queued(desk, is_planned=False)
    queued(desk, "net.path")
    freeze(desk)
    set_presence(desk, "online")
    assert sorted(names(hello(desk, NOON + 2 * MINUTE))) == ["app.restart", "net.path"]


def test_what_waits_longer_than_it_may_ends_in_the_freeze(desk: Desk) -> None:
    run = queued(desk)
    freeze(desk, ends_at=NOON + timedelta(days=9))
    set_presence(desk, "online")
    hello(desk, NOON + 2 * MINUTE)
    assert sweep(desk, NOON + timedelta(days=2)) == []
    assert row_of(desk, run).state == "EXPIRED"


@pytest.mark.parametrize(("at", "is_held"), [(NOON, False), (BEGINS, True), (ENDS - MINUTE, True), (ENDS, False)])
def test_a_freeze_holds_from_its_beginning_and_no_longer_at_its_end(desk: Desk, at: datetime, is_held: bool) -> None:
    freeze(desk)
    with reading(desk.engine) as session:
        if is_held:
            with pytest.raises(FreezeInForce):
                require_start(session, TENANT, DangerClass.CHANGES, at, is_planned=True)
        else:
            require_start(session, TENANT, DangerClass.CHANGES, at, is_planned=True)
