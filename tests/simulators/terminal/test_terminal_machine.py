"""Whatever is done to a simulated terminal in whatever order: no payment is lost and every answer keeps its shape."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from device_agent.drivers.terminal.device import TerminalDevice
from device_agent.errors import ActionFailed, DeviceNotAnswering
from protocol.catalogue import metrics
from protocol.catalogue.vocabulary import TerminalClass
from simulators.direct_port import WaitClock
from simulators.fault_plan import all_faults
from simulators.terminal import SimulatedTerminal
from simulators.terminal_calls import _CALLS, CallRefused
from simulators.terminal_payments import pay
from simulators.terminal_port import TerminalPort

CALLS = sorted(_CALLS)
FAULTS = sorted(each.name for each in all_faults())
ANYTHING = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20) | st.lists(st.integers())
ARGUMENTS = st.dictionaries(st.sampled_from(["wall_ms", "name", "value", "lines", "host", "port", "x"]), ANYTHING)


class TerminalLife(RuleBasedStateMachine):
    @initialize(terminal_class=st.sampled_from(list(TerminalClass)), seed=st.integers(0, 3))
    def begin(self, terminal_class: TerminalClass, seed: int) -> None:
        self.clock = WaitClock()
        self.terminal = SimulatedTerminal(
            terminal_class, seed=seed, trade_every_s=20, monotonic=self.clock, wall=lambda: 1.8e9 + self.clock.now_s
        )
        self.device = TerminalDevice(TerminalPort(self.terminal).open, monotonic=self.clock)
        self.money: set[int] = set()
        self.payments = 0

    @rule(name=st.sampled_from(FAULTS))
    def breaks(self, name: str) -> None:
        if name in self.terminal.known_faults():
            self.terminal.apply_fault(name)

    @rule(name=st.none() | st.sampled_from(FAULTS))
    def is_mended(self, name: str | None) -> None:
        self.terminal.clear_fault(name)

    @rule(call=st.sampled_from(CALLS), args=ARGUMENTS)
    def is_called(self, call: str, args: dict[str, object]) -> None:
        with suppress(CallRefused):
            self.terminal.call(call, args)

    @rule()
    def takes_a_payment(self) -> None:
        pay(self.terminal)

    @rule(seconds=st.sampled_from([0.5, 5.0, 60.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.terminal.tick()

    @invariant()
    def no_money_is_lost(self) -> None:
        if not hasattr(self, "terminal"):
            return
        trade = self.terminal.snapshot()["trade"]
        held = {item["trace"] for item in trade["queue"] + trade["sent"]}
        assert held >= self.money
        self.money = held
        assert len(trade["journal"]) >= self.payments
        self.payments = len(trade["journal"])

    @invariant()
    def every_answer_keeps_its_shape(self) -> None:
        if not hasattr(self, "terminal") or self.terminal.is_down():
            return
        readings = self.device.readings()
        assert all(metrics.get(name) is not None for name in readings)
        for name in ("describe", "safety", "app_status", "queue_status", "storage", "memory", "logs_status"):
            getattr(self.device, name)()
        self.device.config_get()
        with suppress(ActionFailed, DeviceNotAnswering):
            self.device.net_probe("", 0)
        assert set(self.terminal.faults()) <= self.terminal.known_faults()


TestTerminalLife = TerminalLife.TestCase
TestTerminalLife.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
