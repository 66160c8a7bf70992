"""The real agent's core and drivers on simulated devices, all on one clock that jumps from one moment to the next.

Nothing waits for real: a day passes in seconds, and equal seeds give equal days. One device is polled after the other,
so a silent one makes the next wait for its time-outs, as one worker for all would. Threads, spool, link and actions are
not part of it; `simulators.testing.recorder` has those, in real time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from device_agent.adapters.app_log import AppLog
from device_agent.core.agent import AgentCore
from device_agent.core.effects import Polled
from device_agent.core.identity import Identity
from device_agent.core.instant import NS_PER_S, Instant
from device_agent.core.ports import Dice
from device_agent.core.trust import Trust
from device_agent.core.trusted_time import Floor, TrustedClock
from device_agent.core.watch import DeviceSpec
from device_agent.worker import noticed
from protocol.catalogue.vocabulary import TerminalClass
from protocol.identifiers import DeviceId, LinkId
from protocol.records import Record
from protocol.session import Flow, Profile
from simulators.demo.hardware import Breakable, BreakableTerminal
from simulators.direct_port import WaitClock
from simulators.errors import FaultUnknown
from simulators.scenarios.recording_store import RecordingStore
from simulators.scenarios.scenario_file import Scenario, ScenarioDevice
from simulators.scenarios.timeline import Act, Happening
from simulators.serial_command import make_peripheral
from simulators.terminal import SimulatedTerminal
from simulators.terminal_port import TerminalPort
from simulators.testing.recording_link import Keys
from simulators.virtual_drivers import driver_of
from simulators.virtual_line import VirtualLine

# Any Monday: a scenario does not depend on the day it is run.
BEGINS_AT: Final = datetime(2027, 1, 4, tzinfo=UTC)
# A moment that stays due is not asked for again before this has passed.
_STEP_S: Final = 0.01
_FLOW: Final = Flow(
    profile=Profile.UNMETERED,
    keepalive_s=60,
    sample_s=60,
    report_s=60,
    drain_records_per_s=1000,
    reconnect_base_s=1,
    reconnect_cap_s=300,
)


@dataclass(slots=True)
class _Bench:
    """One device: its faults, what the agent reads it by, and when it is looked at next."""

    key: str
    device: DeviceId
    hardware: Breakable
    driver: Any
    poll_at_s: float
    terminal: SimulatedTerminal | None = None
    log: AppLog | None = None


class VirtualBench:
    """``folder`` holds the payment applications' log files. ``take`` is handed every record as it is reported."""

    def __init__(self, scenario: Scenario, seed: int, folder: Path, take: Callable[[Record], None]) -> None:
        self._clock = WaitClock()
        self._began_s = self._clock.now_s
        self._poll_s = scenario.poll_s
        self._folder = folder
        self._benches = {one.key: self._made(one, seed + index) for index, one in enumerate(scenario.devices)}
        specs = [DeviceSpec(self._benches[one.key].device, *_family_and_class(one), {}) for one in scenario.devices]
        dice = random.Random(seed)
        identity = Identity(LinkId("scenario-agent"), "default", f"{seed:032x}", "scenario")
        store = RecordingStore(take)
        trusted = TrustedClock.starting(self._now(), persisted=Floor(), newest_record_ms=0)
        chance = Dice(dice.random, lambda: f"{dice.getrandbits(128):032x}")
        trust = Trust.fixed(Keys().policy(), identity.tenant)
        self._core = AgentCore(identity, specs, trust, _FLOW, store, chance, trusted, self._now())

    @property
    def elapsed_s(self) -> float:
        return self._clock.now_s - self._began_s

    def device_key(self, device: str) -> str:
        return next((one.key for one in self._benches.values() if one.device == device), device)

    def advance_to(self, at_s: float) -> None:
        """Lets everything happen that is due until then."""
        until_s = self._began_s + at_s
        while True:
            bench = min(self._benches.values(), key=lambda one: one.poll_at_s)
            core_due_s = self._core_due_s()
            due_s = max(min(bench.poll_at_s, core_due_s), self._clock.now_s)
            if due_s > until_s:
                break
            self._clock.now_s = due_s
            if bench.poll_at_s <= due_s:
                self._poll(bench)
            self._core.tick(self._now())
            self._core.settle(self._now())
            if self._core_due_s() <= self._clock.now_s:
                self._clock.now_s += _STEP_S
        self._clock.now_s = max(self._clock.now_s, until_s)

    def apply(self, happening: Happening) -> None:
        """Raises `FaultUnknown` for a fault of processes and networks, which only a demo has."""
        bench = self._benches[happening.device]
        match happening.act:
            case Act.BREAK:
                if happening.fault not in bench.hardware.known_faults():
                    raise FaultUnknown(happening.fault, bench.hardware.known_faults())
                bench.hardware.apply_fault(happening.fault)
            case Act.MEND:
                bench.hardware.clear_fault(happening.fault)
            case Act.REBOOT if bench.terminal is not None:
                bench.terminal.begin_reboot("power_on")
            case Act.REBOOT:
                raise FaultUnknown("reboot", bench.hardware.known_faults())

    def close(self) -> None:
        for bench in self._benches.values():
            if bench.log is not None:
                bench.log.close()

    def _poll(self, bench: _Bench) -> None:
        if bench.terminal is not None:
            bench.terminal.tick()
        result = bench.driver.poll(self._wall())
        polled = Polled(bench.device, result.alive, result.readings, result.faults, result.untold)
        self._core.handle(polled, self._now())
        for event in noticed(bench.device, bench.log.follow()) if bench.log is not None else ():
            self._core.handle(event, self._now())
        bench.poll_at_s = max(bench.poll_at_s + self._poll_s, self._clock.now_s)

    def _core_due_s(self) -> float:
        due_ns = self._core.next_due_ns()
        return float("inf") if due_ns is None else due_ns / NS_PER_S

    def _made(self, device: ScenarioDevice, seed: int) -> _Bench:
        name = DeviceId(f"{device.key}-scenario")
        classes = {each.value: each for each in TerminalClass}
        if device.family not in classes:
            line = VirtualLine(make_peripheral(device.family), self._clock, seed=seed)
            return _Bench(device.key, name, line, driver_of(device.family, line, self._clock), self._clock.now_s)
        log = self._folder / f"{device.key}.log"
        terminal = SimulatedTerminal(
            classes[device.family],
            seed=seed,
            log_path=log,
            trade_every_s=device.trade_every_s,
            monotonic=self._clock,
            wall=lambda: self._wall().timestamp(),
        )
        from device_agent.drivers.terminal.device import TerminalDevice

        driver = TerminalDevice(TerminalPort(terminal).open, monotonic=self._clock)
        followed = AppLog(log, device.family, is_new_read_from_start=True)
        hardware = BreakableTerminal(terminal)
        return _Bench(device.key, name, hardware, driver, self._clock.now_s, terminal, followed)

    def _now(self) -> Instant:
        return Instant(round(self._clock.now_s * NS_PER_S), self._wall())

    def _wall(self) -> datetime:
        return BEGINS_AT + timedelta(seconds=self._clock.now_s - self._began_s)


def _family_and_class(device: ScenarioDevice) -> tuple[str, str]:
    classes = {each.value for each in TerminalClass}
    return ("terminal", device.family) if device.family in classes else (device.family, TerminalClass.KIOSK.value)
