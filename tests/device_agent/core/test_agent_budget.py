"""The whole core with a budget for what its link carries."""

from __future__ import annotations

import msgspec

from device_agent.actions import Finding
from device_agent.core.data_budget import DataBudget, Limits
from device_agent.core.effects import Carried, JobDone, Polled
from device_agent.drivers.results import FaultSign
from protocol.commands import DangerClass
from protocol.live import LiveReport
from protocol.records import ExecutionReport, HealthColumns
from protocol.safety import Condition
from protocol.signing import FLOW_TYPE
from protocol.streams import Batch
from protocol.topics import Down, Up
from tests.device_agent.core.invented import DEVICE, FAIL
from tests.device_agent.core.rig import FLOW
from tests.device_agent.core.test_agent import Rig

LIVE = msgspec.structs.replace(FLOW, live_for_s=10.0, live_every_s=1.0)


def test_a_link_whose_budget_is_nearly_spent_is_watched_no_more_and_tells_of_faults_all_the_same() -> None:
    rig = Rig(limits=Limits(month_bytes=1000))
    rig.established()
    rig.tell(Polled(DEVICE, True, {"batt.level_pct": 80}, frozenset()))
    rig.down(Down.FLOW, FLOW_TYPE, LIVE)
    rig.pass_s(2)
    assert rig.published(Up.LIVE, LiveReport)
    rig.pass_s(20)
    rig.tell(Carried(900))
    rig.effects.clear()
    rig.down(Down.FLOW, FLOW_TYPE, LIVE)
    rig.pass_s(2)
    assert rig.published(Up.LIVE, LiveReport) == []
    rig.tell(Polled(DEVICE, True, {}, frozenset({FaultSign("escpos.eot4.paper_end", "")})))
    assert len(rig.published(Up.URGENT, Batch)) == 1


def test_health_is_told_more_rarely_once_the_budget_is_spent_and_as_ever_in_the_next_month() -> None:
    rig = Rig(limits=Limits(month_bytes=1000))
    rig.established()

    def reports_in(seconds: float) -> int:
        before = len(rig.bodies(HealthColumns))
        for _ in range(int(seconds / FLOW.sample_s)):
            rig.tell(Polled(DEVICE, True, {"batt.level_pct": 80}, frozenset()))
            rig.pass_s(FLOW.sample_s)
        return len(rig.bodies(HealthColumns)) - before

    span_s = 30 * FLOW.report_s
    usual = reports_in(span_s)
    rig.tell(Carried(1000))
    reports_in(2 * FLOW.report_s)
    assert 1 <= reports_in(span_s) <= usual / 10
    rig.pass_s(32 * 86_400)
    rig.tell(Carried(1000))
    assert rig.core.budget.used.month_bytes == 0
    reports_in(30 * FLOW.report_s)
    assert reports_in(span_s) >= usual - 1


def test_a_spent_budget_holds_what_keeps_a_terminal_from_trading_and_says_so() -> None:
    rig = Rig(limits=Limits(month_bytes=1000))
    rig.established()
    rig.tell(Carried(1000))
    execution = rig.order("test.reboot", danger_class=DangerClass.CHANGES)
    rig.tell(_done(rig, FAIL))
    rig.tell(_done(rig))
    held = [one for one in rig.bodies(ExecutionReport) if one.execution == execution][-1]
    assert (held.state, held.holds) == ("WAITING_SAFE", [Condition.DATA_BUDGET_SPENT])


def test_what_was_carried_is_known_after_a_restart() -> None:
    rig = Rig(limits=Limits(month_bytes=10**9))
    rig.tell(Carried(5000, is_last=True))
    assert DataBudget.FACT in rig.store.kept_facts
    again = Rig(rig.store, limits=Limits(month_bytes=10**9))
    again.tell(Carried(70))
    assert again.core.budget.used.month_bytes == 5070


def _done(rig: Rig, findings: tuple[Finding, ...] = ()) -> JobDone:
    job = rig.jobs()[-1].job
    return JobDone(job.execution, job.serial, findings, boot="boot-1")
