"""A whole payment terminal: remembers, trades, breaks, and is mended only by what mends it.

Serves the terminal service protocol on a Unix socket (`terminal_service`) when started, and can be asked directly
without any socket. Everything is reached under one lock, so faults may be applied from any thread. Time comes from two
clocks handed in; its own clock is true time plus an offset. Equal seeds behave equally.

Invariants: a call that only reads leaves `snapshot()` unchanged; a fault that no call can mend stays until it is
cleared; a payment is never lost (`terminal_state`).
"""

from __future__ import annotations

import copy
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from protocol.catalogue.vocabulary import TerminalClass
from simulators import terminal_calls, terminal_faults, terminal_payments, terminal_software
from simulators.errors import FaultUnknown
from simulators.fault_plan import APP_DEAD, DEMO_FAULTS, REGISTRATION_LOST, TERMINALS, PlannedFault, faults_for
from simulators.terminal_deceits import Deceiver
from simulators.terminal_log import AppLog, logged_code
from simulators.terminal_models import DEFAULT_CONFIG, MODELS
from simulators.terminal_readings import Moment, Reading, applying_metrics, healthy, remembered
from simulators.terminal_service import TerminalService
from simulators.terminal_software import Software
from simulators.terminal_state import App, Disk, Power, Radio, TerminalMemory, Trade

REBOOT_S = 6.0
APP_START_S = 3.0
TRADE_EVERY_S = 20.0
# Payments in a batch: this merchant settles often, so that what waits for a settled batch does not wait for the night.
SETTLE_AFTER = 3
_ENDED_BY_REBOOT = frozenset({APP_DEAD, REGISTRATION_LOST})
# These alone keep every payment from being approved.
_NO_HOST = ("term.HOST_TIMEOUT", "term.HOST_REFUSED", "term.TLS_HANDSHAKE", "term.NET_DNS")


class SimulatedTerminal:
    """``trade_every_s`` 0: it does not trade by itself."""

    def __init__(
        self,
        terminal_class: TerminalClass,
        *,
        seed: int = 1,
        socket_path: Path | None = None,
        log_path: Path | None = None,
        trade_every_s: float = TRADE_EVERY_S,
        settle_after: int = SETTLE_AFTER,
        reboot_s: float = REBOOT_S,
        app_start_s: float = APP_START_S,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.model = MODELS[terminal_class]
        self.seed = seed
        self.random = random.Random(seed)
        self.serial_number = f"TM{terminal_class.value[0].upper()}{seed:07d}"
        self.trade_every_s = trade_every_s
        self.settle_after = settle_after
        self.app_start_s = app_start_s
        self.log = AppLog(log_path, self.model)
        self._reboot_s = reboot_s
        self._monotonic = monotonic
        self._wall = wall
        self._lock = threading.RLock()
        self._kind = next(kind for kind, its_class in TERMINALS.items() if its_class is terminal_class)
        self.memory = self._factory_new()
        self.deceiver: Deceiver | None = None  # says yes and does not, for those who test what a yes is worth
        self._service = TerminalService(self, socket_path) if socket_path is not None else None

    def start(self) -> None:
        if self._service is not None:
            self._service.start()

    def stop(self) -> None:
        if self._service is not None:
            self._service.stop()

    def call(self, call: str, args: terminal_calls.Args) -> object:
        """One call of the service; raises `terminal_calls.CallRefused`."""
        with self._lock:
            if self.deceiver is not None:
                return self.deceiver.answer(self, call, args)
            return terminal_calls.answer(self, call, args)

    def tick(self) -> None:
        """Lets the terminal trade: called about once a second while it serves."""
        with self._lock:
            terminal_software.fall_back(self, is_boot=False)
            terminal_payments.trade_when_due(self)

    def snapshot(self) -> dict[str, Any]:
        """A deep copy of everything the terminal remembers."""
        with self._lock:
            return copy.deepcopy(asdict(self.memory))

    def faults(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self.memory.faults)

    def possible_faults(self) -> tuple[PlannedFault, ...]:
        return tuple(fault for fault in faults_for(self._kind) if fault.name not in DEMO_FAULTS)

    def known_faults(self) -> frozenset[str]:
        return frozenset(fault.name for fault in self.possible_faults())

    def apply_fault(self, name: str) -> None:
        if name not in self.known_faults():
            raise FaultUnknown(name, self.known_faults())
        with self._lock:
            if name in self.memory.faults:
                return
            self.memory.faults[name] = self.now().mono_s
            terminal_faults.begin(name, self.situation())
            terminal_payments.meet_fault(self, name)

    def clear_fault(self, name: str | None = None) -> None:
        """Without a name: all of them."""
        with self._lock:
            for each in (name,) if name is not None else tuple(self.memory.faults):
                if self.memory.faults.pop(each, None) is not None:
                    terminal_faults.end(each, self.situation())
                    terminal_payments.meet_mending(self)

    def mended(self, name: str) -> None:
        """A call has put right what this fault was; nothing else changes."""
        if self.memory.faults.pop(name, None) is not None:
            terminal_payments.meet_mending(self)

    def begin_reboot(self, reason: str) -> None:
        """Down for some seconds; what was in the application's memory is gone, what is on disk stays."""
        with self._lock:
            memory, now_s = self.memory, self._monotonic()
            memory.boot = f"{self.random.getrandbits(128):032x}"
            memory.boot_reason = reason
            memory.boots_24h += 1
            memory.down_until_s = memory.booted_s = now_s + self._reboot_s
            memory.app.started_s = memory.down_until_s + self.app_start_s
            memory.app.leaked_mb = 0.0
            memory.app.is_dead = False
            memory.radio.is_registered = True
            memory.faults = {name: at for name, at in memory.faults.items() if name not in _ENDED_BY_REBOOT}
            terminal_software.fall_back(self, is_boot=True)
            memory.app.started_s = memory.down_until_s + self.app_start_s
            if self.deceiver is not None:
                self.deceiver.on_boot(self)

    def restart_app(self, version: str, *, works: bool) -> None:
        """Another version of the application comes up, or does not."""
        app = self.memory.app
        app.version, app.is_dead, app.leaked_mb = version, not works, 0.0
        app.started_s = self._monotonic() + self.app_start_s
        app.restarts += 1

    def now(self) -> Moment:
        return Moment(self._monotonic(), self._wall())

    def situation(self) -> terminal_faults.Situation:
        now = self.now()
        return terminal_faults.Situation(self.memory, self.model, now.mono_s, now.true_wall_s)

    def wall_at(self, mono_s: float) -> float:
        """What the terminal's own clock showed, or will show, at a monotonic moment."""
        now = self.now()
        return now.true_wall_s + self.memory.clock_offset_s + mono_s - now.mono_s

    def wall_clock(self) -> datetime:
        return datetime.fromtimestamp(self._wall() + self.memory.clock_offset_s, UTC)

    def is_down(self) -> bool:
        return self._monotonic() < self.memory.down_until_s

    def is_app_alive(self) -> bool:
        return not self.memory.app.is_dead and self._monotonic() >= self.memory.app.started_s

    def can_trade(self) -> bool:
        return self.is_app_alive() and self.memory.trade.is_signed_in and self.host_code() is None

    def host_code(self) -> str | None:
        """The code under which the acquirer cannot be reached now, None when it can."""
        shown = self.shown_codes()
        readings = self.readings()
        if not readings.get("net.dns_ok", 1):
            return "term.NET_DNS"
        if not readings["modem.pdp_active"] and readings.get("net.type") in {"4g", "2g", "none"}:
            return "term.NET_NO_PDP"
        return next((code for code in _NO_HOST if code in shown), None)

    def response_codes(self, *, except_for: str = "") -> tuple[str, ...]:
        """Field 39 as the acquirer answers while such faults are there; empty means approved."""
        return tuple(code for shown in self._shown(except_for) for code in shown.response_codes)

    def shown_codes(self) -> frozenset[str]:
        return frozenset(code for shown in self._shown() for code in shown.codes)

    def logged_codes(self, name: str) -> tuple[str, ...]:
        """What the application logs when it meets the fault."""
        shown = terminal_faults.shown_by(name, self.model.terminal_class)
        by_reading = (logged_code(metric, value) for metric, value in shown.readings.items())
        return (*sorted(shown.codes), *(code for code in by_reading if code is not None))

    def readings(self) -> dict[str, Reading]:
        now = self.now()
        values = healthy(self.model, self.seed, now.mono_s)
        own = remembered(self.memory, self.model, now)
        applying = applying_metrics(self.model.terminal_class)
        values.update({name: value for name, value in own if name in applying})
        for shown in self._shown():
            values.update(shown.readings)
        return values

    def _shown(self, except_for: str = "") -> list[terminal_faults.Shown]:
        names = [name for name in self.memory.faults if name != except_for]
        return [terminal_faults.shown_by(name, self.model.terminal_class) for name in names]

    def _factory_new(self) -> TerminalMemory:
        now_s = self._monotonic()
        model = self.model
        hour = 3600.0
        return TerminalMemory(
            boot=f"{self.random.getrandbits(128):032x}",
            booted_s=now_s - 30 * hour,
            boot_reason="power_on",
            boots_24h=1,
            down_until_s=now_s - 30 * hour,
            clock_offset_s=0.0,
            certificate_not_after_s=self._wall() + 300 * 86_400,
            power=Power(level_pct=86.0, is_plugged=True),
            app=App(model.app_version, now_s - 29 * hour, base_rss_mb=model.app_rss_mb),
            disk=Disk(model.disk_mb, model.system_mb, model.log_limit_mb * 0.4, model.log_limit_mb),
            radio=Radio(),
            trade=Trade(1000, now_s - 5 * hour, settled_s=now_s - 10 * hour, last_payment_s=now_s - 60),
            config=dict(DEFAULT_CONFIG),
            software=Software.factory(model.app_version),
        )
