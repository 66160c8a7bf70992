"""Every fault that a person can pick is told within a minute by the real core and drivers, and ends when mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.catalogue import metrics
from protocol.catalogue.vocabulary import TerminalClass
from protocol.records import FaultCleared, FaultRaised, HealthColumns, Record, Sample
from simulators.fault_plan import AGENT_KILLED, LINK_DOWN, TERMINALS, DeviceKind, faults_for, only_when_asked
from simulators.scenarios.scenario_file import Scenario, ScenarioDevice, Title
from simulators.scenarios.timeline import Act, Happening
from simulators.scenarios.virtual_bench import VirtualBench

KEY = "dev1"
BROKEN_AT_S = 10
STEP_S = 6
SHOWN_WITHIN_S = 60
# Line quality is counted over the last hundred exchanges; all else ends at the next look.
ENDED_WITHIN_S = 300
# No fault but something to wait for; what happens to an agent or its network is no device's to tell.
NOT_TOLD = frozenset({"payment_running", AGENT_KILLED})


class Told:
    """The open faults and the newest values of one device, as the agent reported them."""

    def __init__(self, kind: DeviceKind) -> None:
        self._class = TERMINALS.get(kind, TerminalClass.KIOSK)
        self._codes: set[str] = set()
        self._values: dict[str, Sample] = {}

    def take(self, record: Record) -> None:
        match record.body:
            case FaultRaised(code=code):
                self._codes.add(code)
            case FaultCleared(code=code):
                self._codes.discard(code)
            case HealthColumns(columns=columns):
                for name, column in columns.items():
                    measured = [value for value in column if value is not None]
                    self._values.update({name: measured[-1]} if measured else {})

    def wrong(self) -> set[str]:
        out = set(self._codes)
        for name, value in self._values.items():
            metric = metrics.get(name)
            if metric is not None and metric.judge(value, self._class).is_abnormal:
                out.add(name)
        return out


def offered(kind: DeviceKind) -> list[str]:
    left_out = NOT_TOLD | only_when_asked(kind) | ({LINK_DOWN} if kind in TERMINALS else frozenset())
    return [fault.name for fault in faults_for(kind) if fault.name not in left_out]


CASES = [
    pytest.param(kind, fault, id=f"{kind.value}-{fault}")
    for kind in DeviceKind
    if kind is not DeviceKind.GATEWAY
    for fault in offered(kind)
]


@pytest.mark.parametrize(("kind", "fault"), CASES)
def test_a_fault_that_is_offered_shows_and_ends_when_it_is_mended(kind: DeviceKind, fault: str, tmp_path: Path) -> None:
    told = Told(kind)
    scenario = Scenario(Title("一", "one"), 1, 1000, [ScenarioDevice(KEY, kind.value)], poll_s=2)
    bench = VirtualBench(scenario, 1, tmp_path, told.take)
    try:
        bench.advance_to(BROKEN_AT_S)
        assert told.wrong() == set()
        bench.apply(Happening(BROKEN_AT_S, KEY, Act.BREAK, fault))
        while not told.wrong() and bench.elapsed_s < BROKEN_AT_S + SHOWN_WITHIN_S:
            bench.advance_to(bench.elapsed_s + STEP_S)
        assert told.wrong(), f"{fault} was told by no code and no value"
        mended_at_s = bench.elapsed_s
        bench.apply(Happening(mended_at_s, KEY, Act.MEND, fault))
        while told.wrong() and bench.elapsed_s < mended_at_s + ENDED_WITHIN_S:
            bench.advance_to(bench.elapsed_s + STEP_S)
        assert told.wrong() == set(), f"{fault} did not end"
    finally:
        bench.close()


def test_what_shows_only_when_asked_is_not_offered_by_the_demo_and_shows_nothing(tmp_path: Path) -> None:
    hidden = only_when_asked(DeviceKind.ZVT)
    assert {"acquirer_down", "sign_in_expired"} <= hidden
    for fault in sorted(hidden):
        told = Told(DeviceKind.ZVT)
        scenario = Scenario(Title("一", "one"), 1, 1000, [ScenarioDevice(KEY, "zvt")], poll_s=2)
        bench = VirtualBench(scenario, 1, tmp_path, told.take)
        bench.apply(Happening(0, KEY, Act.BREAK, fault))
        bench.advance_to(SHOWN_WITHIN_S)
        bench.close()
        assert told.wrong() == set(), "then it can be offered"
