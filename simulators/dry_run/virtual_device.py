"""One simulated device with the agent's own executions, actions and driver, on a clock that jumps.

Nothing waits for real: a soak of a minute passes at once. Broker, signatures and the spool are left out; orders are
taken as accepted.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from device_agent.core.command_gate import Accepted
from device_agent.core.effects import Job, RunJob
from device_agent.core.executions import Executions
from device_agent.core.instant import NS_PER_S, Instant
from device_agent.core.turns import Moment, Turn
from device_agent.drivers.terminal.device import TerminalDevice
from device_agent.errors import AgentError
from device_agent.registry import definitions_for
from device_agent.worker import DevicePlan, answer, held_back, refused
from protocol.capabilities import Action
from protocol.catalogue.vocabulary import TerminalClass
from protocol.commands import Command
from protocol.executions import FINAL
from protocol.identifiers import DeviceId
from protocol.parameters import ParamValue, check_params
from protocol.records import ExecutionReport, Verdict
from simulators.demo.hardware import Breakable, BreakableTerminal
from simulators.direct_port import WaitClock
from simulators.errors import SimulatorError
from simulators.serial_command import make_peripheral
from simulators.terminal import SimulatedTerminal
from simulators.terminal_port import TerminalPort
from simulators.virtual_drivers import driver_of
from simulators.virtual_line import VirtualLine

if TYPE_CHECKING:
    from device_agent.actions import Definition

DEVICE: Final = DeviceId("dry-run")
# Any Monday: a dry run does not depend on the day of it.
BEGINS_AT: Final = datetime(2027, 1, 4, tzinfo=UTC)
# Longer than any action takes with its soak and what it may wait for.
_LONGEST_S: Final = 26 * 3600.0
_CLASSES: Final = {each.value: each for each in TerminalClass}


class ParamsUnfit(SimulatorError):
    code = "params_unfit"


class RunHangs(SimulatorError):
    code = "run_hangs"


@dataclass(slots=True)
class _Context:
    """A `device_agent.actions.ActionContext` whose waiting moves the clock."""

    device: Any
    terminal_class: str
    params: Mapping[str, ParamValue]
    boot: str
    boot_before: str
    clock: WaitClock
    wall: Callable[[], datetime]

    @property
    def trusted_ms(self) -> int:
        return int(self.wall().timestamp() * 1000)

    def monotonic(self) -> float:
        return self.clock()

    def sleep(self, seconds: float) -> None:
        self.clock.now_s += seconds

    def progress(self, percent: int, note: str = "") -> None:
        """Nobody watches."""

    def is_cancelled(self) -> bool:
        return False


@dataclass(slots=True)
class VirtualDevice:
    """``family``: zvt, escpos, modem, e_sign, traditional, smart or kiosk."""

    family: str
    seed: int = 1
    clock: WaitClock = field(default_factory=WaitClock)
    hardware: Breakable = field(init=False)
    simulated: Any = field(init=False)
    _driver: Any = field(init=False)
    _executions: Executions = field(init=False)
    _definitions: dict[str, Definition] = field(init=False)
    _began_s: float = field(init=False)
    _jobs: deque[Job] = field(default_factory=deque)
    _said: list[ExecutionReport | Verdict] = field(default_factory=list)
    _ids: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self.clock.now_s
        self._ids = random.Random(self.seed)
        if self.family in _CLASSES:
            self._set_up_terminal()
        else:
            self._attach()
        terminal_class = self.family if self.family in _CLASSES else TerminalClass.KIOSK.value
        found = definitions_for(self._driver.family, terminal_class)
        self._definitions = {one.declared.name: one for one in found}
        self._executions = Executions({DEVICE: self._definitions}, {})
        # As its worker does before anything else.
        self._driver.poll(self.wall())

    @property
    def actions(self) -> dict[str, Action]:
        return {name: one.declared for name, one in self._definitions.items()}

    @property
    def elapsed_s(self) -> float:
        return self.clock.now_s - self._began_s

    def wall(self) -> datetime:
        return BEGINS_AT + timedelta(seconds=self.elapsed_s)

    def perform(
        self, action: str, params: Mapping[str, ParamValue], *, skip_if_passing: bool
    ) -> tuple[ExecutionReport, list[Verdict]]:
        """The last word on one execution, and what its checks found. Raises `ParamsUnfit`."""
        definition = self._definitions[action]
        checked = check_params(list(definition.declared.params), dict(params))
        if isinstance(checked, list):
            raise ParamsUnfit(f"{action}: {'; '.join(str(one) for one in checked)}")
        command = self._command(definition.declared, checked, skip_if_passing=skip_if_passing)
        self._take(self._executions.accept(Accepted(command, definition, checked, {}), self._moment()))
        until_s = self.clock.now_s + _LONGEST_S
        while (last := self._last(command.execution)) is None:
            if self.clock.now_s >= until_s:
                raise RunHangs(f"{action} does not end: {self._said[-1:]}")
            self._go_on()
        verdicts = [one for one in self._said if isinstance(one, Verdict) and one.execution == command.execution]
        self._said.clear()
        return last, verdicts

    def _command(self, declared: Action, params: dict[str, ParamValue], *, skip_if_passing: bool) -> Command:
        now_ms = self._moment().trusted_ms
        return Command(
            version=1,
            audience=DEVICE,
            tenant="default",
            execution=str(uuid.UUID(int=self._ids.getrandbits(128), version=4)),
            action=declared.name,
            danger_class=declared.danger_class,
            params=params,
            issued_at_ms=now_ms,
            not_after_ms=now_ms + int(_LONGEST_S * 1000),
            counter=1,
            skip_if_passing=skip_if_passing,
        )

    def _last(self, execution: str) -> ExecutionReport | None:
        ends = (one for one in self._said if isinstance(one, ExecutionReport) and one.state in FINAL)
        return next((one for one in ends if one.execution == execution), None)

    def _go_on(self) -> None:
        if self._jobs:
            self._perform(self._jobs.popleft())
            return
        due_ns = self._executions.next_due_ns()
        if due_ns is None:
            raise RunHangs(f"nothing is due: {self._said[-1:]}")
        self.clock.now_s = max(self.clock.now_s, due_ns / NS_PER_S + 0.001)
        self._take(self._executions.on_tick(self._moment()))

    def _perform(self, job: Job) -> None:
        terminal_class = self.family if self.family in _CLASSES else TerminalClass.KIOSK.value
        plan = DevicePlan(DEVICE, terminal_class, 5.0, lambda: self._driver)
        context = _Context(self._driver, terminal_class, job.params, "", job.boot_before, self.clock, self.wall)
        try:
            done = held_back(job, self._driver, plan) or answer(job, context, self._driver, plan)
        except AgentError as error:
            done = refused(job, error)
        self._executions.on_started(job.execution, job.serial, self._moment())
        self._take(self._executions.on_done(done, self._moment()))

    def _take(self, turn: Turn) -> None:
        self._executions.changed_rows()  # Nothing is kept of them: nobody dies here.
        self._said += [body for body in turn.bodies if isinstance(body, ExecutionReport | Verdict)]
        self._jobs.extend(effect.job for effect in turn.effects if isinstance(effect, RunJob))

    def _moment(self) -> Moment:
        now = Instant(round(self.clock.now_s * NS_PER_S), self.wall())
        return Moment(now, int(self.wall().timestamp() * 1000))

    def _set_up_terminal(self) -> None:
        terminal = SimulatedTerminal(
            _CLASSES[self.family],
            seed=self.seed,
            trade_every_s=0,
            monotonic=self.clock,
            wall=lambda: self.wall().timestamp(),
        )
        self.simulated, self.hardware = terminal, BreakableTerminal(terminal)
        self._driver = TerminalDevice(TerminalPort(terminal).open, monotonic=self.clock)

    def _attach(self) -> None:
        line = VirtualLine(make_peripheral(self.family), self.clock, seed=self.seed)
        self.simulated, self.hardware = line.peripheral, line
        self._driver = driver_of(self.family, line, self.clock)
