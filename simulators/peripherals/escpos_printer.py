"""A receipt printer that speaks ESC/POS: real-time status, a buffer, paper, and a cutter.

Real-time commands (DLE EOT, DLE ENQ) are taken out of the stream as they arrive and answered at once, also while
printing is blocked; everything else waits in the receive buffer until the printer can print. The buffer is bounded:
what does not fit is dropped and counted. Invariant: no status or identity request changes `snapshot`.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import asdict, dataclass, field

from simulators.peripherals.escpos_commands import next_command
from simulators.peripherals.fault_effects import PRINTER_EFFECTS, PrinterEffect
from simulators.peripherals.peripheral import ChannelKind, FaultSwitches

BUFFER_BYTES = 4096
MAX_KEPT_LINES = 500
MAX_LINE_BYTES = 1024
_DLE, _EOT, _ENQ = 0x10, 0x04, 0x05
_IDENTITY = {65: b"1.07 TM-SIM", 66: b"TILLMEDIC", 67: b"TM-SIM80"}
# n of GS g 2, low byte first: 148.
_LINES_FED = b"\x94\x00"
_TYPE_IDS = {1: 0x20, 2: 0x02, 3: 0x01}


@dataclass(slots=True)
class _State:
    serial_number: str = "PS00471103"
    auto_status_mask: int = 0
    printed_lines: list[str] = field(default_factory=list)
    cut_count: int = 0
    line_count: int = 0
    lines_fed: int = 48_211


class EscposPrinter:
    family = "escpos"

    def __init__(self, *, serial_number: str = "PS00471103", has_counters: bool = True) -> None:
        """``has_counters``: it answers GS g 2, as Epson's do and many others do not."""
        self.lock = threading.RLock()
        self.dropped_bytes = 0
        self._has_counters = has_counters
        self._state = _State(serial_number=serial_number)
        self._switches: FaultSwitches[PrinterEffect] = FaultSwitches(PRINTER_EFFECTS, self.lock)
        self._real_time = bytearray()
        self._buffer = bytearray()
        self._line = bytearray()
        self._reported = b""

    def open_channel(self, kind: ChannelKind) -> EscposPrinter:
        """A serial and a network printer speak the same bytes, so the printer is its own channel."""
        del kind
        return self

    def snapshot(self) -> dict[str, object]:
        with self.lock:
            waiting = {"buffer": bytes(self._buffer), "line": bytes(self._line), "faults": sorted(self.faults())}
            return {**copy.deepcopy(asdict(self._state)), **waiting}

    def printed_text(self) -> list[str]:
        with self.lock:
            return list(self._state.printed_lines)

    def apply_fault(self, name: str) -> None:
        self._switches.apply(name)

    def clear_fault(self, name: str | None = None) -> None:
        self._switches.clear(name)

    def faults(self) -> frozenset[str]:
        return self._switches.names()

    def known_faults(self) -> frozenset[str]:
        return self._switches.known()

    def receive(self, data: bytes, now_s: float) -> bytes:
        del now_s
        with self.lock:
            out = bytearray()
            for byte in data:
                self._take_real_time(byte, out)
            return bytes(out) + self._work()

    def tick(self, now_s: float) -> bytes:
        del now_s
        with self.lock:
            return self._work() + self._automatic_status()

    def _take_real_time(self, byte: int, out: bytearray) -> None:
        self._real_time.append(byte)
        head = self._real_time
        if head[0] != _DLE or (len(head) == 2 and byte not in {_EOT, _ENQ}):
            # A second DLE may itself begin a real-time command.
            keep = len(head) == 2 and byte == _DLE
            self._store(bytes(head[:-1]) if keep else bytes(head))
            self._real_time = bytearray([_DLE]) if keep else bytearray()
        elif len(head) == 3:
            if head[1] == _EOT and 1 <= byte <= 4:
                out.append(self._real_time_status(byte))
            head.clear()

    def _store(self, data: bytes) -> None:
        room = BUFFER_BYTES - len(self._buffer)
        self._buffer += data[:room]
        self.dropped_bytes += max(len(data) - room, 0)

    def _work(self) -> bytes:
        """Executes what is buffered for as long as the printer is ready."""
        out = bytearray()
        while self._buffer and not self._condition().is_blocked:
            length = next_command(bytes(self._buffer[:BUFFER_BYTES]))
            if length == 0:
                self._drop_if_full()
                break
            command = bytes(self._buffer[:length])
            del self._buffer[:length]
            out += self._execute(command)
        return bytes(out)

    def _drop_if_full(self) -> None:
        """A command longer than the buffer can never be completed."""
        if len(self._buffer) >= BUFFER_BYTES:
            self.dropped_bytes += len(self._buffer)
            self._buffer.clear()

    def _execute(self, command: bytes) -> bytes:
        match command[0], command[1:2]:
            case 0x0A, _:
                self._end_line()
            case 0x1B, b"@":
                self._line.clear()
                self._state.auto_status_mask = 0
            case 0x1B, b"d":
                self._end_line()
                self._state.lines_fed += max(command[2] - 1, 0)
            case 0x1B, b"J":
                self._end_line()
            case 0x1D, b"V":
                self._end_line(only_if_text=True)
                self._state.cut_count += 1
            case 0x1D, b"a":
                self._state.auto_status_mask = command[2]
                self._reported = self._auto_status_bytes()
                return self._reported if command[2] else b""
            case 0x1D, b"I":
                return self._identity(command[2])
            case 0x1D, b"g":
                return self._counter(command)
            case 0x1D, b"r":
                condition = self._condition()
                return bytes([0x03 if condition.near_end else 0x00]) if command[2] in {1, 49} else b"\x00"
            case first, _ if first >= 0x20 and len(self._line) < MAX_LINE_BYTES:
                self._line += command
        return b""

    def _end_line(self, *, only_if_text: bool = False) -> None:
        if only_if_text and not self._line:
            return
        text = self._line.decode("gb18030", errors="replace")
        self._line.clear()
        self._state.line_count += 1
        self._state.lines_fed += 1
        self._state.printed_lines = [*self._state.printed_lines, text][-MAX_KEPT_LINES:]

    def _identity(self, item: int) -> bytes:
        if item in _TYPE_IDS:
            return bytes([_TYPE_IDS[item]])
        text = self._state.serial_number.encode("ascii") if item == 68 else _IDENTITY.get(item)
        return b"" if text is None else b"\x5f" + text + b"\x00"

    def _counter(self, command: bytes) -> bytes:
        """GS g 2 of the counter of lines that nobody can set back; of others nothing is counted here."""
        if not self._has_counters or command[2:] != b"\x32\x00" + _LINES_FED:
            return b""
        return b"\x5f" + str(self._state.lines_fed).encode("ascii") + b"\x00"

    def _condition(self) -> _Condition:
        effects = self._switches.effects()
        return _Condition(
            paper_end=any(each.paper_end for each in effects),
            near_end=any(each.near_end for each in effects),
            cover_open=any(each.cover_open for each in effects),
            mechanical=any(each.mechanical_error for each in effects),
            cutter=any(each.cutter_error for each in effects),
            unrecoverable=any(each.unrecoverable_error for each in effects),
            head_hot=any(each.head_hot for each in effects),
        )

    def _real_time_status(self, request: int) -> int:
        now = self._condition()
        bits = {
            1: 0x08 * now.is_blocked | 0x20 * now.head_hot,
            2: 0x04 * now.cover_open | 0x20 * now.paper_end | 0x40 * now.has_error,
            3: 0x04 * now.mechanical | 0x08 * now.cutter | 0x20 * now.unrecoverable | 0x40 * now.head_hot,
            4: 0x0C * now.near_end | 0x60 * now.paper_end,
        }
        return 0x12 | bits[request]

    def _automatic_status(self) -> bytes:
        if not self._state.auto_status_mask:
            return b""
        status = self._auto_status_bytes()
        if status == self._reported:
            return b""
        self._reported = status
        return status

    def _auto_status_bytes(self) -> bytes:
        now = self._condition()
        return bytes(
            [
                0x10 | 0x08 * now.is_blocked | 0x20 * now.cover_open,
                0x01 * now.head_hot
                | 0x04 * now.mechanical
                | 0x08 * now.cutter
                | 0x20 * now.unrecoverable
                | 0x40 * now.head_hot,
                0x03 * now.near_end | 0x0C * now.paper_end,
                0x0F,
            ]
        )


@dataclass(frozen=True, slots=True)
class _Condition:
    paper_end: bool
    near_end: bool
    cover_open: bool
    mechanical: bool
    cutter: bool
    unrecoverable: bool
    head_hot: bool

    @property
    def has_error(self) -> bool:
        return self.mechanical or self.cutter or self.unrecoverable or self.head_hot

    @property
    def is_blocked(self) -> bool:
        return self.has_error or self.paper_end or self.cover_open
