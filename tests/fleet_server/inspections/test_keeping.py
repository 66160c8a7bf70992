"""Inspections over simulated time: rounds, moments, verdicts, and what is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet_server.auth.roles import Role
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device, Site
from fleet_server.devices.repository import DeviceRepository
from fleet_server.devices.service import CapabilityCache, DeviceService
from fleet_server.executions.desk import ExecutionDesk
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.models import Execution
from fleet_server.executions.outbound import Outbound
from fleet_server.inspections import keeping
from fleet_server.inspections.keeping import InspectionKeeper
from fleet_server.inspections.models import Inspection, InspectionRound, InspectionTurn
from fleet_server.inspections.plans import EVERY_DAY, Group, Times
from fleet_server.inspections.service import InspectionService, Plan, RoundRead
from fleet_server.kit.conflicts import Conflicts
from fleet_server.tenants.models import Tenant
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY, Broker
from tests.fleet_server.factories import TENANT, Fleet, actor, add_fleet, capability, device, site
from tests.support.signing import local_signer

# A Monday, 00:00 in Shanghai: the window of the night opens two hours later.
MIDNIGHT = datetime(2026, 3, 1, 16, tzinfo=UTC)
OPENS_AT = MIDNIGHT + timedelta(hours=2)
CLOSES_AT = OPENS_AT + timedelta(minutes=60)
BOSS = actor(Role.OPERATOR, name="boss")


@dataclass
class Night:
    """``at``: what time it is."""

    engine: Engine
    fleet: Fleet
    broker: Broker
    make_keeper: Callable[[], InspectionKeeper]
    keeper: InspectionKeeper
    at: datetime = MIDNIGHT

    @contextmanager
    def service(self) -> Iterator[InspectionService]:
        with transaction(self.engine, TENANT) as session:
            devices = DeviceService(DeviceRepository(session, TENANT))
            yield InspectionService(session, TENANT, devices)

    def make(self, *checks: str, group: Group | None = None, days: tuple[int, ...] = EVERY_DAY) -> str:
        plan = Plan("nightly", checks or ("agent.echo", "net.path"), Times(days, "02:00", 60), group or Group())
        with self.service() as service:
            return service.make(BOSS, plan, self.at).id

    def go(self, until: datetime, step: timedelta = timedelta(minutes=2)) -> None:
        """The scheduler's turns until then."""
        while self.at < until:
            self.at = min(until, self.at + step)
            while self.keeper.step(TENANT, self.at):
                pass

    def answer(self, outcome: str = "pass", state: str = "SUCCEEDED", action: str = "") -> int:
        """All that was asked, or one check of it, ends; how many did."""
        with transaction(self.engine) as session:
            rows = session.exec(select(Execution).where(col(Execution.is_final).is_(False))).all()
            ended = [row for row in rows if action in {"", row.action}]
            for row in ended:
                row.is_final, row.state, row.outcome, row.deadline_at = True, state, outcome or None, None
        return len(ended)

    def turns(self) -> dict[str, InspectionTurn]:
        with reading(self.engine) as session:
            return {turn.device_id: turn for turn in session.exec(select(InspectionTurn)).all()}

    def rounds(self, inspection_id: str) -> list[RoundRead]:
        with self.service() as service:
            return list(service.rounds(inspection_id))

    def asked(self) -> list[Execution]:
        with reading(self.engine) as session:
            return list(session.exec(select(Execution).order_by(col(Execution.id))))

    def change(self, device_id: str, **values: object) -> None:
        with transaction(self.engine) as session:
            row = session.get(Device, device_id)
            assert row is not None
            for name, value in values.items():
                setattr(row, name, value)


@pytest.fixture
def night(engine: Engine, tmp_path: Path) -> Night:
    with transaction(engine) as session:
        fleet = add_fleet(session)
    broker = Broker()
    signer = local_signer(COMMAND_KEY, APPROVER_KEY)
    dispatcher = Dispatcher(signer, jitter=lambda: 0.0)

    def make_keeper() -> InspectionKeeper:
        cache = CapabilityCache()
        desk = ExecutionDesk(engine, cache, dispatcher, Outbound(broker, lambda: None), Conflicts())
        return InspectionKeeper(engine, cache, desk)

    return Night(engine, fleet, broker, make_keeper, make_keeper())


def test_every_device_is_asked_once_in_its_window_and_the_worst_verdict_counts(night: Night) -> None:
    inspection = night.make()
    night.go(OPENS_AT - timedelta(seconds=30))
    assert {turn.state for turn in night.turns().values()} == {"waiting"}
    assert night.asked() == []
    night.go(CLOSES_AT)
    asked = night.asked()
    assert sorted((row.device_id, row.action) for row in asked) == [
        (device_id, action)
        for device_id in (night.fleet.gateway, night.fleet.terminal)
        for action in ("agent.echo", "net.path")
    ]
    assert all(OPENS_AT <= row.created_at < CLOSES_AT for row in asked)
    assert {row.actor for row in asked} == {"inspection: nightly"}
    assert night.answer("warn", action="net.path") == 2
    assert night.answer("pass") == 2
    night.go(CLOSES_AT + timedelta(minutes=2))
    turns = night.turns()
    assert {(turn.state, turn.outcome) for turn in turns.values()} == {("done", "warn")}
    assert {one["outcome"] for one in turns[night.fleet.terminal].results.values()} == {"pass", "warn"}
    (only,) = night.rounds(inspection)
    assert (only.row.local_date, only.row.devices, dict(only.outcomes)) == ("2026-03-02", 2, {"warn": 2})


def test_scheduler_that_dies_at_any_step_asks_nothing_twice(night: Night) -> None:
    """A new one takes over at each turn, with nothing in its memory."""
    night.make()
    while night.at < CLOSES_AT:
        night.keeper = night.make_keeper()
        night.go(night.at + timedelta(minutes=2))
    assert len(night.asked()) == 4
    assert len(night.turns()) == 2


def test_request_whose_turn_was_not_written_down_is_not_made_again(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.make()
    with monkeypatch.context() as patched:
        patched.setattr(InspectionKeeper, "_save", lambda *_: None)
        night.at = CLOSES_AT - timedelta(minutes=5)
        for _ in range(6):
            night.keeper.step(TENANT, night.at)
    assert len(night.asked()) == 4
    night.keeper = night.make_keeper()
    night.go(CLOSES_AT - timedelta(minutes=4))
    assert len(night.asked()) == 4
    assert {turn.state for turn in night.turns().values()} == {"asked"}


def test_offline_device_is_asked_when_it_comes_back_in_the_window(night: Night) -> None:
    night.make()
    for device_id in (night.fleet.gateway, night.fleet.terminal):
        night.change(device_id, presence="offline")
    # The last tenth of the window is nobody's moment.
    night.go(CLOSES_AT - timedelta(minutes=5))
    assert night.asked() == []
    assert {(turn.state, turn.reason) for turn in night.turns().values()} == {("waiting", "offline")}
    night.change(night.fleet.gateway, presence="online")
    night.go(CLOSES_AT - timedelta(minutes=2))
    assert len(night.asked()) == 4
    assert {turn.reason for turn in night.turns().values()} == {""}


def test_offline_device_is_missed_and_says_why(night: Night) -> None:
    inspection = night.make()
    night.change(night.fleet.gateway, presence="offline")
    night.go(CLOSES_AT + timedelta(minutes=1))
    assert night.asked() == []
    (only,) = night.rounds(inspection)
    assert dict(only.missed) == {"offline": 2}


def test_window_that_nobody_was_there_to_open_is_missed_as_a_whole(night: Night) -> None:
    inspection = night.make()
    night.at = CLOSES_AT + timedelta(hours=3)
    night.go(night.at + timedelta(minutes=1))
    assert night.asked() == []
    (only,) = night.rounds(inspection)
    assert (only.row.reason, only.row.devices, only.row.local_date) == ("server_away", 2, "2026-03-02")
    # Said once, of the round, and not of each device again.
    assert night.turns() == {}


def test_scheduler_that_comes_back_in_the_window_uses_what_is_left_of_it(night: Night) -> None:
    night.make()
    night.at = CLOSES_AT - timedelta(minutes=20)
    night.go(CLOSES_AT)
    assert len(night.asked()) == 4


def test_what_waited_while_the_server_was_away_is_missed_for_that(night: Night) -> None:
    inspection = night.make()
    night.go(OPENS_AT - timedelta(minutes=1))
    night.at = CLOSES_AT + timedelta(minutes=30)
    night.go(night.at + timedelta(minutes=1))
    (only,) = night.rounds(inspection)
    assert dict(only.missed) == {"server_away": 2}
    assert night.asked() == []


def test_no_answer_is_no_verdict(night: Night) -> None:
    inspection = night.make("agent.echo")
    night.go(CLOSES_AT)
    night.answer("", state="UNREACHABLE")
    night.go(CLOSES_AT + timedelta(minutes=1))
    (only,) = night.rounds(inspection)
    assert dict(only.missed) == {"no_answer": 2}
    assert not only.outcomes


def test_check_that_a_device_does_not_have_is_left_out(night: Night) -> None:
    night.make("agent.echo", "fan.speed")
    night.go(CLOSES_AT)
    assert {row.action for row in night.asked()} == {"agent.echo"}
    night.answer("pass")
    night.go(CLOSES_AT + timedelta(minutes=1))
    assert {turn.outcome for turn in night.turns().values()} == {"pass"}


def test_device_that_has_none_of_the_checks_says_so(night: Night) -> None:
    inspection = night.make("fan.speed")
    night.go(CLOSES_AT)
    assert night.asked() == []
    (only,) = night.rounds(inspection)
    assert dict(only.outcomes) == {"unsupported": 2}


def test_tests_and_fixes_are_never_asked_for(night: Night) -> None:
    """Only what changes nothing runs by itself, whatever a plan says."""
    night.make("printer.print_test", "app.restart")
    night.go(CLOSES_AT + timedelta(minutes=1))
    assert night.asked() == []
    assert {turn.outcome for turn in night.turns().values()} == {"unsupported"}


def test_only_the_chosen_days_and_only_the_chosen_devices(night: Night) -> None:
    # 2026-03-02 is a Monday.
    inspection = night.make(days=(3,), group=Group(kind="gateway"))
    night.go(CLOSES_AT + timedelta(days=1), timedelta(hours=2))
    assert night.rounds(inspection) == []
    night.go(OPENS_AT + timedelta(days=2), timedelta(hours=2))
    night.go(CLOSES_AT + timedelta(days=2))
    (only,) = night.rounds(inspection)
    assert (only.row.local_date, only.row.devices) == ("2026-03-04", 1)
    assert {row.device_id for row in night.asked()} == {night.fleet.gateway}


def test_each_time_zone_has_a_window_of_its_own(night: Night) -> None:
    with transaction(night.engine) as session:
        session.add(site("s-far-0001", timezone="America/New_York"))
        session.flush()
        session.add(device("d-far-terminal", "s-far-0001", presence="online"))
        session.flush()
        session.add(capability("d-far-terminal"))
    inspection = night.make("agent.echo")
    night.go(CLOSES_AT)
    # 02:00 in New York is 07:00 UTC.
    opens_far = datetime(2026, 3, 2, 7, tzinfo=UTC)
    night.go(opens_far, timedelta(hours=1))
    night.go(opens_far + timedelta(minutes=60))
    at = {row.device_id: row.created_at for row in night.asked()}
    assert opens_far <= at["d-far-terminal"] < opens_far + timedelta(minutes=60)
    assert OPENS_AT <= at[night.fleet.terminal] < CLOSES_AT
    assert {one.row.timezone for one in night.rounds(inspection)} == {"Asia/Shanghai", "America/New_York"}


def test_paused_one_asks_nobody_and_goes_on_with_the_next_window(night: Night) -> None:
    inspection = night.make("agent.echo")
    night.go(OPENS_AT - timedelta(minutes=1))
    with night.service() as service:
        service.pause(BOSS, inspection, night.at)
    night.go(CLOSES_AT + timedelta(minutes=1))
    (only,) = night.rounds(inspection)
    assert dict(only.missed) == {"paused": 2}
    with night.service() as service:
        service.resume(BOSS, inspection, night.at)
    night.go(OPENS_AT + timedelta(days=1), timedelta(hours=2))
    assert night.asked() == []
    night.go(CLOSES_AT + timedelta(days=1))
    assert len(night.asked()) == 2


def test_turn_that_was_ended_while_it_was_looked_at_stays_ended(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    inspection = night.make("agent.echo")
    night.go(OPENS_AT - timedelta(minutes=1))
    look = InspectionKeeper._asked

    def paused_meanwhile(keeper: InspectionKeeper, *given: Any) -> dict[str, Any]:
        with night.service() as service:
            service.pause(BOSS, inspection, night.at)
        return look(keeper, *given)

    monkeypatch.setattr(InspectionKeeper, "_asked", paused_meanwhile)
    night.go(CLOSES_AT)
    assert {(turn.state, turn.reason) for turn in night.turns().values()} == {("missed", "paused")}


def test_devices_of_a_suspended_tenant_are_not_asked(night: Night) -> None:
    inspection = night.make("agent.echo")
    with transaction(night.engine) as session:
        session.add(Tenant(id=TENANT, name="x", created_at=MIDNIGHT, suspended_at=MIDNIGHT))
    night.go(CLOSES_AT + timedelta(minutes=2))
    assert night.asked() == []
    (only,) = night.rounds(inspection)
    assert dict(only.missed) == {"suspended": 2}


def test_retired_device_is_missed_for_that(night: Night) -> None:
    night.make("agent.echo")
    night.go(OPENS_AT - timedelta(minutes=1))
    night.change(night.fleet.terminal, retired_at=night.at)
    night.go(CLOSES_AT)
    turn = night.turns()[night.fleet.terminal]
    assert (turn.state, turn.reason) == ("missed", "retired")


def test_large_round_is_planned_in_pieces_each_device_once(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PIECE", 7)
    with transaction(night.engine) as session:
        session.add_all(device(f"d-many-{number:03}", night.fleet.site, presence="online") for number in range(40))
    night.make("agent.echo", group=Group(q="sn"))
    night.at = OPENS_AT - timedelta(minutes=4)
    while night.keeper.step(TENANT, night.at):
        night.keeper = night.make_keeper()
    assert len(night.turns()) == 42
    with reading(night.engine) as session:
        assert session.exec(select(InspectionRound)).one().planned_after is None


def test_other_tenants_devices_are_not_asked(night: Night) -> None:
    with transaction(night.engine) as session:
        add_fleet(session, "two", tenant="other")
    night.make("agent.echo")
    night.go(CLOSES_AT)
    assert {row.device_id for row in night.asked()} == {night.fleet.gateway, night.fleet.terminal}
    while night.keeper.step("other", night.at):
        pass
    assert len(night.asked()) == 2
    with reading(night.engine) as session:
        assert {row.tenant_id for row in session.exec(select(Inspection))} == {TENANT}
        assert len(session.exec(select(Site)).all()) == 2
