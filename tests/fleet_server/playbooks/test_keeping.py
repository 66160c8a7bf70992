"""A walk goes on whoever walks it, and no step of it is asked for twice."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from fleet_server.assignments.models import Assignment
from fleet_server.audit.models import AuditEntry
from fleet_server.auth.errors import RoleTooLow
from fleet_server.auth.roles import Role
from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device
from fleet_server.executions.outbound import Outbound
from fleet_server.playbooks.errors import (
    PlaybookNotForDevice,
    PlaybookNotFound,
    PlaybookOver,
    PlaybookRunning,
    PlaybookVariablesInvalid,
)
from fleet_server.playbooks.models import PlaybookRun
from fleet_server.playbooks.service import RunRead
from fleet_server.tenants.models import Tenant
from fleet_server.timeline.models import Event
from protocol.authorisations import Grant
from tests.fleet_server.factories import TENANT, assignment
from tests.fleet_server.playbooks.walks import LIN, MORNING, Walks, make_walks, person


@pytest.fixture
def walks(engine: Engine) -> Walks:
    return make_walks(engine)


def test_a_walk_that_finds_nothing_asks_each_check_once_and_says_so(walks: Walks) -> None:
    run = walks.start(given={"tries": 5})
    walks.go()
    (asked,) = walks.asked()
    assert (asked.action, asked.params, asked.actor) == ("net.path", {"count": 5}, "lin")
    walks.go(30)
    assert len(walks.asked()) == 1
    walks.answer()
    walks.go()
    # The readers' check is not declared: it is not asked for, and the walk goes on.
    assert [one.action for one in walks.asked()] == ["net.path", "agent.echo"]
    walks.answer()
    walks.go()
    read = walks.read(run)
    assert (read.row.is_open, read.row.end_name, read.row.end_kind, read.row.why) == (
        False,
        "well",
        "nothing_wrong",
        "",
    )
    assert [one.step for one in read.steps] == ["path", "reads", "echo"]
    assert [one.execution_id is None for one in read.steps] == [False, True, False]


def test_a_fix_waits_for_its_approver_as_any_other_and_its_proof_decides(walks: Walks) -> None:
    run = walks.start()
    walks.go()
    walks.answer("fail", "SUCCEEDED", "term.HOST_TIMEOUT")
    walks.go()
    fix = walks.asked()[-1]
    assert (fix.action, fix.state, fix.override_reason) == (
        "app.restart",
        "AWAITING_APPROVAL",
        "路不通 / the way is down",
    )
    walks.answer("", "SUCCEEDED", found=False)
    walks.go()
    assert walks.names(run) == ["path", "restart", "pause"]
    walks.go(60)
    assert len(walks.asked()) == 2, "it waits two minutes"
    walks.go(61)
    assert walks.names(run)[-1] == "path"


def test_a_permit_of_the_whole_walk_lets_the_step_go_that_waits_and_those_after_it(walks: Walks) -> None:
    run = walks.start()
    walks.go()
    walks.answer("fail", "SUCCEEDED", "term.HOST_TIMEOUT")
    walks.go()
    assert walks.asked()[-1].state == "AWAITING_APPROVAL"
    read = walks.in_service(lambda service: service.get(run))
    assert ([(one.action, one.params) for one in read.grants], read.uses) == ([("app.restart", {})], 3)
    permit = walks.permit(read)
    walks.go(6)
    fix = walks.asked()[-1]
    assert (fix.state, fix.permit_id) == ("PUBLISHED", permit)
    walks.answer("", "SUCCEEDED", found=False)
    for _ in range(3):
        walks.go(121)
        if walks.asked()[-1].action == "net.path" and not walks.asked()[-1].is_final:
            walks.answer("fail", "SUCCEEDED", "term.HOST_TIMEOUT")
    assert (walks.asked()[-1].action, walks.asked()[-1].permit_id) == ("app.restart", permit)


def test_a_permit_for_something_else_lets_nothing_go(walks: Walks) -> None:
    run = walks.start()
    walks.go()
    walks.answer("fail", "SUCCEEDED", "term.HOST_TIMEOUT")
    walks.go()
    read = walks.in_service(lambda service: service.get(run))
    walks.permit(RunRead(read.row, read.steps, [Grant("app.restart", {"x": 1})], 3))
    walks.go(6)
    assert walks.asked()[-1].state == "AWAITING_APPROVAL"


def test_loops_end_by_their_count(walks: Walks) -> None:
    run = walks.start()
    for _ in range(20):
        walks.go(121)
        if walks.read(run).row.is_open and any(not one.is_final for one in walks.asked()):
            is_fix = walks.asked()[-1].action == "app.restart"
            walks.answer("" if is_fix else "fail", "SUCCEEDED", "term.HOST_TIMEOUT")
    read = walks.read(run)
    assert (read.row.end_name, read.row.is_open) == ("host", False)
    assert [one.step for one in read.steps] == ["path", "restart", "pause"] * 3


@pytest.mark.parametrize(
    ("state", "outcome"), [("EXPIRED", ""), ("TIMED_OUT", ""), ("FAILED", ""), ("SUCCEEDED", "error")]
)
def test_a_check_that_told_nothing_ends_the_walk_undecided(walks: Walks, state: str, outcome: str) -> None:
    run = walks.start()
    walks.go()
    walks.answer(outcome, state)
    walks.go()
    row = walks.read(run).row
    assert (row.is_open, row.end_name, row.why) == (False, "", "not_told")


def test_findings_that_come_after_the_end_are_waited_for(walks: Walks) -> None:
    run = walks.start()
    walks.go()
    walks.answer("fail", found=False)
    walks.go(5)
    assert walks.names(run) == ["path"], "by its verdict alone it would be decided wrongly"
    walks.findings_come("fail", "term.HOST_TIMEOUT")
    walks.go(2)
    assert walks.names(run) == ["path", "restart"]


def test_findings_that_never_come_are_not_waited_for_for_ever(walks: Walks) -> None:
    run = walks.start()
    walks.go()
    walks.answer("fail", found=False)
    for _ in range(25):
        walks.go()
    assert walks.read(run).row.end_name == "look"


def test_a_step_that_takes_too_long_is_given_up(walks: Walks) -> None:
    run = walks.start()
    walks.go()
    walks.answer("fail", "SUCCEEDED", "term.HOST_TIMEOUT")
    walks.go()
    walks.go(1801)
    fix = walks.asked()[-1]
    assert (fix.state, fix.cancel_asked_by) == ("CANCELLED", "system")
    walks.go()
    assert walks.read(run).row.why == "not_told"


def test_the_whole_has_its_own_end_in_time(walks: Walks) -> None:
    run = walks.start()
    walks.go()
    walks.answer("fail", "SUCCEEDED", "term.HOST_TIMEOUT")
    with transaction(walks.engine) as session:
        row = session.get(PlaybookRun, run)
        assert row is not None
        row.started_at = MORNING - timedelta(seconds=7200)
        row.due_at = walks.at
    walks.go()
    row = walks.read(run).row
    assert (row.is_open, row.why) == (False, "expired")
    assert len(walks.asked()) == 1


def test_cancelling_ends_the_present_step_and_then_the_walk(walks: Walks) -> None:
    run = walks.start()
    walks.go()
    walks.answer("fail", "SUCCEEDED", "term.HOST_TIMEOUT")
    walks.go()
    walks.cancel(run)
    walks.cancel(run)
    walks.go()
    walks.go()
    fix = walks.asked()[-1]
    assert (fix.state, fix.cancel_asked_by) == ("CANCELLED", "lin")
    row = walks.read(run).row
    assert (row.is_open, row.why, row.cancel_asked_by) == (False, "cancelled", "lin")
    with pytest.raises(PlaybookOver):
        walks.cancel(run)
    with reading(walks.engine) as session:
        deeds = [one.action for one in session.exec(select(AuditEntry).order_by(col(AuditEntry.id)))]
    assert deeds.count("playbook_cancelled") == 1
    assert deeds.count("playbook_started") == 1


def test_one_that_waits_is_cancelled_at_once(walks: Walks) -> None:
    run = walks.start()
    walks.go()
    walks.answer("fail", "SUCCEEDED", "term.HOST_TIMEOUT")
    walks.go()
    walks.answer("", "SUCCEEDED", found=False)
    walks.go()
    walks.cancel(run)
    walks.go()
    assert walks.read(run).row.why == "cancelled"


def test_whoever_may_no_more_asks_for_nothing_more(walks: Walks) -> None:
    run = walks.start()
    walks.change_person(disabled_at=MORNING)
    walks.go()
    assert walks.asked() == []
    assert walks.read(run).row.why == "requester_gone"


@pytest.mark.parametrize("is_assigned", [True, False])
def test_a_technician_asks_for_nothing_more_once_the_device_is_not_assigned(walks: Walks, is_assigned: bool) -> None:
    walks.change_person(role="technician")
    walks.playbook = msgspec.structs.replace(walks.playbook, steps=[walks.playbook.steps[4]])
    with transaction(walks.engine) as session:
        session.add(assignment(LIN, device_id=walks.fleet.terminal))
    run = walks.start(person(Role.TECHNICIAN))
    if not is_assigned:
        with transaction(walks.engine) as session:
            session.delete(session.exec(select(Assignment)).one())
    walks.go()
    assert (len(walks.asked()), walks.read(run).row.why) == ((1, "") if is_assigned else (0, "requester_gone"))


def test_a_step_that_is_refused_ends_the_walk_and_says_why(walks: Walks) -> None:
    run = walks.start()
    walks.change_person(role="viewer")
    walks.go()
    row = walks.read(run).row
    assert (row.is_open, row.why, row.code) == (False, "refused", "role_too_low")
    assert walks.read(run).steps == []


def test_a_device_that_was_retired_ends_its_walk(walks: Walks) -> None:
    run = walks.start()
    with transaction(walks.engine) as session:
        row = session.get(Device, walks.fleet.terminal)
        assert row is not None
        row.retired_at = MORNING
    walks.go()
    assert (walks.read(run).row.why, walks.read(run).row.code) == ("refused", "device_not_found")


def test_of_a_tenant_that_is_suspended_nothing_is_asked_until_it_is_let_in_again(walks: Walks) -> None:
    run = walks.start()
    with transaction(walks.engine) as session:
        session.merge(Tenant(id=TENANT, name="one", created_at=MORNING, suspended_at=MORNING))
    walks.go()
    walks.go(120)
    assert (walks.asked(), walks.read(run).row.is_open) == ([], True)
    with transaction(walks.engine) as session:
        session.merge(Tenant(id=TENANT, name="one", created_at=MORNING, suspended_at=None))
    walks.go(61)
    assert len(walks.asked()) == 1


def test_of_an_offline_device_the_first_step_waits_in_the_queue(engine: Engine) -> None:
    walks = make_walks(engine, presence="offline")
    walks.start()
    walks.go()
    assert [one.state for one in walks.asked()] == ["QUEUED"]


def test_two_walks_of_one_device_are_refused(walks: Walks) -> None:
    walks.start()
    with pytest.raises(PlaybookRunning):
        walks.start()


def test_what_does_not_fit_is_refused_before_anything_is_asked(walks: Walks) -> None:
    with pytest.raises(PlaybookVariablesInvalid, match="pan: expected one of tries"):
        walks.start(given={"pan": 3})
    with pytest.raises(PlaybookVariablesInvalid, match="a value like 3"):
        walks.start(given={"tries": "many"})
    with pytest.raises(PlaybookVariablesInvalid, match="card data"):
        walks.start(given={"tries": 4111111111111111})
    with pytest.raises(RoleTooLow):
        walks.start(person(Role.TECHNICIAN))
    with pytest.raises(PlaybookNotFound):
        walks.in_service(lambda one: one.start(person(), walks.fleet.terminal, "no_such", {}, walks.at))
    device = walks.fleet.terminal
    walks.playbook = msgspec.structs.replace(walks.playbook, steps=[walks.playbook.steps[3]])
    with pytest.raises(PlaybookNotForDevice, match=r"reader\.status"):
        walks.in_service(lambda one: one.start(person(), device, "path_down", {}, walks.at))
    assert walks.asked() == []


def test_a_later_version_changes_no_walk_that_has_begun(walks: Walks) -> None:
    run = walks.start()
    walks.playbook = msgspec.structs.replace(walks.playbook, version=4, steps=walks.playbook.steps[:1])
    walks.go()
    walks.answer("fail", "SUCCEEDED", "term.HOST_TIMEOUT")
    walks.go()
    assert walks.read(run).row.version == 3
    assert walks.names(run) == ["path", "restart"]


def test_the_timeline_tells_the_walk(walks: Walks) -> None:
    walks.start()
    walks.go()
    walks.answer("warn")
    walks.go()
    with reading(walks.engine) as session:
        told = session.exec(select(Event).where(col(Event.type) == "playbook").order_by(col(Event.id))).all()
    assert [one.data["what"] for one in told] == ["started", "step", "ended"]
    assert {one.device_id for one in told} == {walks.fleet.terminal}


class Died(BaseException):
    """The scheduler's process is gone in the middle of what it does."""


@pytest.mark.parametrize("boundary", ["before", "asked", "added", "announced", "after"])
def test_a_scheduler_that_dies_at_any_boundary_asks_for_each_step_once(
    walks: Walks, boundary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every transaction of a walk is tried by one that dies in it, and then done by another."""
    run = walks.start()
    answers = iter([("fail", "term.HOST_TIMEOUT"), ("", ""), ("pass", ""), ("pass", "")])
    for _ in range(12):
        walks.at += timedelta(seconds=121)
        _die(walks, run, boundary, monkeypatch)
        walks.restart()
        walks.go(0)
        if any(not one.is_final for one in walks.asked()):
            outcome, code = next(answers)
            walks.answer(outcome, "SUCCEEDED", *([code] if code else []), found=outcome != "")
        if not walks.read(run).row.is_open:
            break
    read = walks.read(run)
    assert (read.row.end_name, read.row.is_open) == ("well", False)
    assert [one.step for one in read.steps] == ["path", "restart", "pause", "path", "reads", "echo"]
    assert [one.action for one in walks.asked()] == ["net.path", "app.restart", "net.path", "agent.echo"]
    assert len({one.execution_id for one in read.steps} - {None}) == 4


def _die(walks: Walks, run: str, boundary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if boundary == "before":
        return
    if boundary == "after":
        # What was committed stays; what the process knew by heart and would have done next is lost.
        walks.keeper.move(TENANT, run, walks.at)
        return

    def dies(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        if boundary == "asked":
            patched.setattr("fleet_server.playbooks.keeping._add", dies)
        elif boundary == "added":
            patched.setattr("fleet_server.playbooks.happenings.moved", dies)
        else:
            patched.setattr(Outbound, "announce", dies)
        with contextlib.suppress(Died):
            walks.keeper.move(TENANT, run, walks.at)


def test_a_walk_that_is_over_is_moved_no_more(walks: Walks) -> None:
    """Another scheduler may have seen it open."""
    run = walks.start()
    walks.go()
    walks.answer("warn")
    walks.go()
    ended_at = walks.read(run).row.ended_at
    walks.at += timedelta(minutes=5)
    assert not walks.keeper.move(TENANT, run, walks.at)
    assert walks.read(run).row.ended_at == ended_at
    with reading(walks.engine) as session:
        told = session.exec(select(Event).where(col(Event.type) == "playbook")).all()
    assert [one.data["what"] for one in told].count("ended") == 1


def test_two_schedulers_at_once_ask_once(walks: Walks) -> None:
    run = walks.start()
    first = walks.keeper
    walks.restart()
    first.move(TENANT, run, walks.at)
    walks.keeper.move(TENANT, run, walks.at)
    assert len(walks.asked()) == 1
