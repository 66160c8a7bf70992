"""The ways out of an open batch, on a terminal that has everything by which others are held."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_agent.core.hours import Hours
from protocol.catalogue.vocabulary import TerminalClass
from protocol.executions import ExecutionState
from protocol.safety import Answer, Condition, Effect, judge
from simulators.fault_plan import QUEUE_STUCK
from simulators.terminal_payments import PAYMENT_TAKES_S, pay
from tests.support.action_rig import ActionRig, terminal_rig
from tests.support.treatment import Treatment

WORST = {Condition.BATCH_OPEN, Condition.PAYMENTS_UNSENT, Condition.REVERSALS_PENDING, Condition.BATTERY_LOW}
WAYS_OUT = [
    ("queue.send", QUEUE_STUCK),
    ("batch.settle", "batch_full"),
    ("sign_in.renew", "sign_in_expired"),
    ("app.sign_in", "sign_in_expired"),
]


def at_the_worst_moment(fault: str, folder: Path) -> Treatment:
    """It trades, with an open batch, unsent payments and a pending reversal; the battery is low, the window is shut."""
    rig: ActionRig = terminal_rig(TerminalClass.SMART)
    pay(rig.simulated)
    rig.clock.now_s += PAYMENT_TAKES_S
    rig.simulated.apply_fault("battery_aged")
    rig.simulated.apply_fault(QUEUE_STUCK)
    if fault != QUEUE_STUCK:
        # What waits could go, and has not gone yet.
        rig.simulated.memory.faults.pop(QUEUE_STUCK)
        rig.simulated.apply_fault(fault)
    now_min = int(rig.clock.now_s / 60) % 1440
    shut = Hours((now_min + 600) % 1440, (now_min + 660) % 1440, lambda _at_ms: 0)
    return Treatment(rig, folder, hours=shut)


@pytest.mark.parametrize(("action", "fault"), WAYS_OUT)
def test_a_way_out_goes_at_once_where_everything_else_is_held(action: str, fault: str, tmp_path: Path) -> None:
    treatment = at_the_worst_moment(fault, tmp_path)
    assert treatment.rig.device.conditions() >= WORST
    assert judge(Effect.REBOOTS, treatment.rig.device.conditions()).answer is Answer.WAIT or "sign_in" in action
    last = treatment.run(action)
    treatment.close()
    assert (last.state, last.code) == (ExecutionState.SUCCEEDED, ""), last
    states = {one.state for one in treatment.said if hasattr(one, "state")}
    assert ExecutionState.WAITING_SAFE not in states
    assert fault not in treatment.rig.simulated.faults()
