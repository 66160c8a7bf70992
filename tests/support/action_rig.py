"""What an action is run with, on a simulated device: the real functions, without the agent around them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from device_agent.actions import Definition, Finding, overall
from device_agent.drivers.escpos.device import PrinterDevice
from device_agent.drivers.modem.device import ModemDevice
from device_agent.drivers.terminal.device import TerminalDevice
from device_agent.drivers.zvt.device import ZvtDevice
from device_agent.registry import definitions_for
from protocol.catalogue.vocabulary import TerminalClass
from protocol.parameters import ParamValue, check_params
from protocol.records import Outcome
from simulators.direct_port import DirectPort, WaitClock
from simulators.peripherals.at_modem import AtModem
from simulators.peripherals.escpos_printer import EscposPrinter
from simulators.peripherals.peripheral import ChannelKind
from simulators.peripherals.zvt_terminal import ZvtTerminal
from simulators.terminal import SimulatedTerminal
from simulators.terminal_port import TerminalPort

TRUSTED_S = 1_795_000_000.0


@dataclass
class Context:
    """An `ActionContext`."""

    device: Any
    terminal_class: str
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    trusted_ms: int = int(TRUSTED_S * 1000)
    boot: str = ""
    boot_before: str = ""
    told: list[tuple[int, str]] = field(default_factory=list)

    @staticmethod
    def monotonic() -> float:
        return time.monotonic()

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(seconds)

    def progress(self, percent: int, note: str = "") -> None:
        self.told.append((percent, note))

    def is_cancelled(self) -> bool:
        return False


@dataclass
class ActionRig:
    device: Any
    simulated: Any
    terminal_class: str
    clock: WaitClock

    @property
    def definitions(self) -> dict[str, Definition]:
        return {each.declared.name: each for each in definitions_for(self.device.family, self.terminal_class)}

    def context(self, name: str, given: dict[str, ParamValue]) -> Context:
        params = check_params(list(self.definitions[name].declared.params), given)
        assert isinstance(params, dict), params
        return Context(self.device, self.terminal_class, params)

    def check(self, name: str, /, **given: ParamValue) -> list[Finding]:
        run = self.definitions[name].run
        assert run is not None
        return list(run(self.context(name, given)))

    def outcome(self, name: str, /, **given: ParamValue) -> Outcome:
        return overall(self.check(name, **given))

    def fix(self, name: str, /, **given: ParamValue) -> tuple[Outcome, Outcome]:
        """Outcomes of the check before and after the steps."""
        definition = self.definitions[name]
        before = self._around(definition.declared.pre_check, given)
        for step in definition.steps:
            step.run(self.context(name, given))
        return before, self._around(definition.declared.post_check, given)

    def codes(self, name: str) -> set[str]:
        return {code for finding in self.check(name) for code in finding.codes}

    def _around(self, check: str | None, given: dict[str, ParamValue]) -> Outcome:
        assert check is not None
        declared = {parameter.name for parameter in self.definitions[check].declared.params}
        return self.outcome(check, **{name: value for name, value in given.items() if name in declared})


def terminal_rig(terminal_class: TerminalClass, *, reboot_s: float = 0.0) -> ActionRig:
    clock = WaitClock()
    simulated = SimulatedTerminal(
        terminal_class,
        seed=7,
        trade_every_s=0,
        reboot_s=reboot_s,
        app_start_s=0.0,
        monotonic=clock,
        wall=lambda: TRUSTED_S,
    )
    device = TerminalDevice(TerminalPort(simulated).open, monotonic=clock)
    return ActionRig(device, simulated, terminal_class.value, clock)


def attached_rig(family: str, *, has_counters: bool = True) -> ActionRig:
    """``has_counters``: of a printer, whether it answers how much it has printed."""
    clock = WaitClock()
    device: Any
    simulated: Any
    match family:
        case "zvt":
            simulated = ZvtTerminal()
            port = DirectPort(simulated.open_channel(ChannelKind.SERIAL), clock)
            device = ZvtDevice(port.open, monotonic=clock)
        case "escpos":
            simulated = EscposPrinter(has_counters=has_counters)
            device = PrinterDevice(DirectPort(simulated, clock).open, monotonic=clock)
        case _:
            simulated = AtModem()
            device = ModemDevice(DirectPort(simulated, clock).open, monotonic=clock)
    # As the worker does before anything else: a modem's session is set up by its first poll.
    device.poll(datetime.fromtimestamp(TRUSTED_S, UTC))
    return ActionRig(device, simulated, TerminalClass.KIOSK.value, clock)
