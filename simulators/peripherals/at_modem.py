"""An LTE modem that speaks AT commands: SIM, radio, registration, one data context, and the settings of its AT session.

Every command is answered: what is not implemented gets ERROR, never silence.
Commands that take time on the air (network scan, registration) finish by `tick`. Invariant: read and test commands
change nothing in `snapshot`.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from dataclasses import asdict, dataclass, field

from simulators.peripherals.at_commands import COMMANDS, AtFailed, parse_command
from simulators.peripherals.fault_effects import MODEM_EFFECTS, Cure, ModemEffect
from simulators.peripherals.peripheral import ChannelKind, FaultSwitches

MAX_COMMAND_BYTES = 512
IDLE, HOME, SEARCHING = 0, 1, 2
# Words of AT+CMEE=2 for the errors this modem can have (27.007 9.2).
_ERROR_WORDS = {
    3: "operation not allowed",
    4: "operation not supported",
    10: "SIM not inserted",
    13: "SIM failure",
    30: "no network service",
    112: "Location area not allowed",
    133: "Requested service option not subscribed",
    149: "PDP authentication failure",
}


@dataclass(slots=True)
class ModemState:
    # Not a subscriber and not a device: the sample identity of the specifications, the ICCID of no issuer.
    imei: str = "490154203237518"
    imsi: str = "001010123456789"
    iccid: str = "89860000000000000017"
    echo: bool = True
    error_mode: int = 0
    registration_modes: dict[str, int] = field(default_factory=lambda: {"CREG": 0, "CGREG": 0, "CEREG": 0})
    function_level: int = 1
    operator_mode: int = 0
    operator_format: int = 0
    apn: str = "cmnet"
    context_active: bool = True
    attached: bool = True
    csq: int = 21
    rsrq: int = 22
    rsrp: int = 52
    sinr_db: int = 14
    area: str = "10A4"
    cell: str = "0A2B3C1D"
    restart_count: int = 0
    settings: dict[str, str] = field(default_factory=dict)


class AtModem:
    family = "modem"

    def __init__(self, *, imei: str = "490154203237518", scan_s: float = 1.5, register_s: float = 1.0) -> None:
        self.lock = threading.RLock()
        self.dropped_bytes = 0
        self.state = ModemState(imei=imei)
        self.scan_s = scan_s
        self._register_s = register_s
        self._switches: FaultSwitches[ModemEffect] = FaultSwitches(MODEM_EFFECTS, self.lock)
        self._line = bytearray()
        # Command lines that wait behind one that takes time; and that one's answer with its moment.
        self._waiting: deque[str] = deque(maxlen=16)
        self._deferred: tuple[float, bytes] | None = None
        self._searching_until_s = 0.0
        self._announced = HOME
        self._now_s = 0.0

    def open_channel(self, kind: ChannelKind) -> AtModem:
        """A modem has one AT session whatever carries it, so it is its own channel."""
        del kind
        return self

    def snapshot(self) -> dict[str, object]:
        with self.lock:
            return {**copy.deepcopy(asdict(self.state)), "faults": sorted(self.faults())}

    def apply_fault(self, name: str) -> None:
        with self.lock:
            effect = self._switches.apply(name)
            if effect.is_context_down or effect.sim_error is not None or effect.registration is not None:
                self.state.context_active = False

    def clear_fault(self, name: str | None = None) -> None:
        with self.lock:
            had_faults = bool(self._switches.names())
            self._switches.clear(name)
            if had_faults and not self._switches.names() and self.state.function_level == 1:
                # A modem with its SIM and network back attaches by itself.
                self.state.context_active = True

    def faults(self) -> frozenset[str]:
        return self._switches.names()

    def known_faults(self) -> frozenset[str]:
        return self._switches.known()

    def receive(self, data: bytes, now_s: float) -> bytes:
        with self.lock:
            self._now_s = now_s
            out = bytearray()
            for byte in data:
                if self.state.echo:
                    out.append(byte)
                out += self._take(byte)
            return bytes(out)

    def tick(self, now_s: float) -> bytes:
        with self.lock:
            self._now_s = now_s
            out = bytearray()
            if self._deferred is not None and now_s >= self._deferred[0]:
                out += self._deferred[1]
                self._deferred = None
                while self._waiting and self._deferred is None:
                    out += self._run_line(self._waiting.popleft())
            return bytes(out) + self._announce()

    # What the commands of `at_commands` ask and order.

    def registration(self) -> int:
        if self.state.function_level != 1 or self.state.operator_mode == 2:
            return IDLE
        for effect in self._switches.effects():
            if effect.registration is not None:
                return effect.registration
        return SEARCHING if self._now_s < self._searching_until_s else HOME

    def sim_error(self) -> int | None:
        return next((each.sim_error for each in self._switches.effects() if each.sim_error is not None), None)

    def signal(self) -> tuple[int, int, int, int]:
        """csq, rsrq, rsrp, sinr as the faults leave them."""
        csq, rsrp, sinr_db = self.state.csq, self.state.rsrp, self.state.sinr_db
        for effect in self._switches.effects():
            csq = csq if effect.csq is None else effect.csq
            rsrp = rsrp if effect.rsrp is None else effect.rsrp
            sinr_db = sinr_db if effect.sinr_db is None else effect.sinr_db
        if self.state.function_level != 1:
            return 99, 255, 255, 0
        return csq, self.state.rsrq if rsrp != 255 else 255, rsrp, sinr_db

    def is_attached(self) -> bool:
        return self.state.attached and self.registration() == HOME and self.sim_error() is None

    def activate_context(self) -> None:
        if self.sim_error() is not None or self.registration() != HOME:
            raise AtFailed(30)
        for effect in self._switches.effects():
            if effect.context_error is not None:
                raise AtFailed(effect.context_error)
        self._cure()
        self.state.context_active = True

    def set_function_level(self, level: int) -> None:
        was = self.state.function_level
        self.state.function_level = level
        if level != 1:
            self.state.context_active = False
        elif was != 1:
            self.search_again()

    def search_again(self) -> None:
        """Leaves the network and looks for it anew; what only a new attach mends is mended by it."""
        self._searching_until_s = self._now_s + self._register_s
        self._cure()
        if not any(each.is_context_down or each.sim_error for each in self._switches.effects()):
            self.state.context_active = True

    def restart(self) -> None:
        """AT+CFUN=1,1: the AT session's settings go back to what the maker set."""
        fresh = ModemState(imei=self.state.imei, apn=self.state.apn, restart_count=self.state.restart_count + 1)
        fresh.context_active = False
        self.state = fresh
        self.search_again()

    def _cure(self) -> None:
        for name, effect in self._switches.items():
            if effect.cure is Cure.REATTACH:
                self._switches.clear(name)

    def _take(self, byte: int) -> bytes:
        if byte == 0x0D:
            text = self._line.decode("ascii", errors="replace").strip()
            self._line.clear()
            if not text:
                return b""
            if self._deferred is not None:
                self._waiting.append(text)
                return b""
            return self._run_line(text)
        if byte in {0x0A, 0x1A, 0x1B}:
            return b""
        if len(self._line) >= MAX_COMMAND_BYTES:
            self.dropped_bytes += 1
        elif byte == 0x08:
            del self._line[-1:]
        else:
            self._line.append(byte)
        return b""

    def _run_line(self, text: str) -> bytes:
        lines: list[str] = []
        delay_s = 0.0
        final = "OK"
        try:
            for command in parse_command(text):
                answer = COMMANDS.run(self, command)
                lines += answer.lines
                delay_s += answer.delay_s
        except AtFailed as failure:
            lines, final = [], self._final_error(failure)
        reply = b"".join(f"\r\n{line}\r\n".encode("ascii") for line in [*lines, final])
        if delay_s:
            self._deferred = (self._now_s + delay_s, reply)
            return b""
        return reply

    def _final_error(self, failure: AtFailed) -> str:
        if failure.number is None or self.state.error_mode == 0:
            return "ERROR"
        word = _ERROR_WORDS.get(failure.number, "unknown") if self.state.error_mode == 2 else failure.number
        return f"+CME ERROR: {word}"

    def _announce(self) -> bytes:
        """Unasked registration results, for as many of the three kinds as were asked for."""
        now = self.registration()
        if now == self._announced:
            return b""
        self._announced = now
        where = f',"{self.state.area}","{self.state.cell}",7' if now == HOME else ""
        out = b""
        for kind, mode in self.state.registration_modes.items():
            if mode:
                out += f"\r\n+{kind}: {now}{where if mode == 2 else ''}\r\n".encode("ascii")
        return out
