"""A fix that seems to work and did not is never called fixed, whatever hides it.

Four ways to be deceived: an order that is accepted and not carried out, one whose effect is gone after a boot, a check
after the fix that cannot be done, and another device that answers on the line by then. ``SILENT_FAILURES=1000`` injects
so many (`make crash`).
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from device_agent.core.effects import Job, JobKind
from protocol.catalogue.vocabulary import TerminalClass
from protocol.commands import ActionKind
from protocol.executions import Result, result_of
from protocol.parameters import ParamValue
from simulators.fault_plan import APP_DEAD, QUEUE_STUCK, REGISTRATION_LOST
from simulators.peripherals.at_modem import AtModem
from simulators.terminal import SimulatedTerminal
from simulators.terminal_deceits import Deceit, Deceiver
from tests.support.action_rig import ActionRig, attached_rig, terminal_rig
from tests.support.treatment import Treatment

COUNT = int(os.environ.get("SILENT_FAILURES", "120"))
FIXES: list[tuple[str, str, dict[str, ParamValue]]] = [
    ("app.restart", APP_DEAD, {}),
    ("queue.send", QUEUE_STUCK, {}),
    ("logs.purge", "storage_log_growth", {}),
    ("clock.sync", "clock_drift", {}),
    ("modem.reregister", REGISTRATION_LOST, {}),
    ("config.apply", "apn_wrong", {"name": "apn", "value": "cmnet"}),
    ("config.apply", "dns_broken", {"name": "dns_server", "value": "223.5.5.5"}),
]
WAYS = [*(deceit.value for deceit in Deceit), "other_device"]
# What each is told as.
TOLD = {
    "accepts_only": {Result.NOT_FIXED},
    "reverts_at_reboot": {Result.CAME_BACK},
    "cannot_tell_after": {Result.NOT_TOLD, Result.NOT_FIXED},
    "other_device": {Result.NOT_TOLD},
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real seconds are not waited for what will not come."""
    monkeypatch.setattr("device_agent.fixes.waiting.ASK_EVERY_S", 0.0)
    for name in ("app_restart.STARTS", "modem_reregister.REGISTERED", "queue_send.SENT"):
        monkeypatch.setattr(f"device_agent.fixes.{name}_WITHIN_S", 0.0)


def boot_in_the_soak(rig: ActionRig) -> Callable[[Job], None]:
    """The terminal boots by itself between the first check after the fix and the last."""
    seen = Counter[str]()

    def before_job(job: Job) -> None:
        if job.identity and job.kind is JobKind.CHECK:
            seen["post"] += 1
            if seen["post"] == 2:
                rig.simulated.begin_reboot("power_on")

    return before_job


def swap_after_the_steps(rig: ActionRig, other: object) -> Callable[[Job], None]:
    """Somebody plugs another, healthy device into the line before the check after the fix."""

    def before_job(job: Job) -> None:
        if job.identity and job.kind is JobKind.CHECK:
            rig.device._line.open_port.__self__._channel = other
            rig.device._line.close()

    return before_job


def swap_terminal(rig: ActionRig, other: SimulatedTerminal) -> Callable[[Job], None]:
    def before_job(job: Job) -> None:
        if job.identity and job.kind is JobKind.CHECK:
            rig.device._line.open_port.__self__._terminal = other
            rig.device._line.close()

    return before_job


def deceived(way: str, rolls: random.Random, folder: Path) -> Result | None:
    # What was sent stays sent: no boot takes it back.
    may_revert = [one for one in FIXES if one[0] != "queue.send"]
    action, fault, params = rolls.choice(may_revert if way == "reverts_at_reboot" else FIXES)
    if way == "other_device" and rolls.random() < 0.3:
        rig = attached_rig("modem")
        rig.simulated.apply_fault("link_down")
        action, params = "modem.reregister", {}
        before_job = swap_after_the_steps(rig, AtModem(imei="356938035643809"))
    else:
        rig = terminal_rig(rolls.choice(list(TerminalClass)))
        rig.simulated.apply_fault(fault)
        if way == "other_device":
            other = SimulatedTerminal(
                rig.simulated.model.terminal_class,
                seed=8,
                trade_every_s=0,
                monotonic=rig.clock,
                wall=rig.simulated._wall,
            )
            before_job = swap_terminal(rig, other)
        else:
            rig.simulated.deceiver = Deceiver(Deceit(way))
            before_job = boot_in_the_soak(rig)
    treatment = Treatment(rig, folder, before_job=before_job)
    try:
        last = treatment.run(action, params)
    finally:
        treatment.close()
    assert [one for one in treatment.steps_begun if one[0] == "step"], "nothing was tried"
    return result_of(ActionKind.FIX, last.state, last.code)


@pytest.mark.timeout(120 + COUNT)
@pytest.mark.parametrize("way", WAYS)
def test_silent_failure_is_never_called_fixed(way: str) -> None:
    told: Counter[Result | None] = Counter()
    with tempfile.TemporaryDirectory(dir=Path("/dev/shm") if Path("/dev/shm").is_dir() else None) as name:
        for seed in range(COUNT // len(WAYS)):
            folder = Path(name) / str(seed)
            folder.mkdir()
            told[deceived(way, random.Random(f"{way}/{seed}"), folder)] += 1
    assert told[Result.FIXED] == 0
    assert set(told) <= TOLD[way], told


def test_the_same_fixes_are_called_fixed_when_nobody_deceives(tmp_path: Path) -> None:
    for number, (action, fault, params) in enumerate(FIXES):
        rig = terminal_rig(TerminalClass.SMART)
        rig.simulated.apply_fault(fault)
        folder = tmp_path / str(number)
        folder.mkdir()
        treatment = Treatment(rig, folder)
        last = treatment.run(action, params)
        treatment.close()
        assert result_of(ActionKind.FIX, last.state, last.code) is Result.FIXED, (action, last)
