"""ESC/POS status traffic of a receipt printer (Epson command reference): bytes in, status values out.

    10 04 n              real time, answered even while printing is blocked: one byte, bits 0,7 clear and 1,4 set
    1D 61 n              automatic status: four bytes whenever something changes, first 0xx1xx00, others 0xx0xxxx
    1D 49 n              identity: 5F text 00 (n = 65..), waits in the buffer like text
    1D 67 32 00 nL nH    maintenance counter n: 5F digits 00, waits in the buffer like text
    1D 72 n              paper or drawer, one byte 0xx0xxxx, waits in the buffer like text

Invariants: events depend on the byte stream alone, never on its chunks; no input raises; what fits none of the shapes
is a `LineFault`, counted; an unfinished group is bounded in size and, by `on_silence`, in time. XON and XOFF are flow
control, not status. Which request an answer belongs to is left to `device`: one request at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

INITIALISE = b"\x1b@"
XON, XOFF = 0x11, 0x13
AUTO_STATUS_BYTES = 4
# Identity texts are a few dozen characters; a block without its end is damage.
MAX_BLOCK_BYTES = 80
_BLOCK_START = 0x5F
MAX_FEED_LINES = 255
# Of a 64-bit number.
MAX_COUNTER_DIGITS = 20


class RealTime(IntEnum):
    """n of DLE EOT n."""

    PRINTER = 1
    OFFLINE_CAUSE = 2
    ERROR_CAUSE = 3
    PAPER = 4


class Identity(IntEnum):
    """n of GS I n."""

    FIRMWARE = 65
    MAKER = 66
    MODEL = 67
    SERIAL = 68


class Counter(IntEnum):
    """n of GS g 2. From 128 on those that nobody can set back."""

    LINES_FED = 148


class Sign(Enum):
    """A bit of a real-time status that is set, named as in the catalogue."""

    DRAWER = "escpos.eot1.drawer"
    OFFLINE = "escpos.eot1.offline"
    WAIT_RECOVERY = "escpos.eot1.wait_recovery"
    FEED_BUTTON = "escpos.eot2.feed_button"
    COVER_OPEN = "escpos.eot2.cover_open"
    PAPER_STOP = "escpos.eot2.paper_stop"
    ERROR = "escpos.eot2.error"
    MECHANICAL = "escpos.eot3.mechanical"
    CUTTER = "escpos.eot3.cutter"
    UNRECOVERABLE = "escpos.eot3.unrecoverable"
    AUTO_RECOVERABLE = "escpos.eot3.auto_recoverable"
    NEAR_END = "escpos.eot4.near_end"
    PAPER_END = "escpos.eot4.paper_end"


# Bits by request; two sensors share a meaning on the paper byte.
REAL_TIME_BITS: dict[RealTime, tuple[tuple[int, Sign], ...]] = {
    RealTime.PRINTER: ((0x04, Sign.DRAWER), (0x08, Sign.OFFLINE), (0x20, Sign.WAIT_RECOVERY)),
    RealTime.OFFLINE_CAUSE: (
        (0x04, Sign.COVER_OPEN),
        (0x08, Sign.FEED_BUTTON),
        (0x20, Sign.PAPER_STOP),
        (0x40, Sign.ERROR),
    ),
    RealTime.ERROR_CAUSE: (
        (0x04, Sign.MECHANICAL),
        (0x08, Sign.CUTTER),
        (0x20, Sign.UNRECOVERABLE),
        (0x40, Sign.AUTO_RECOVERABLE),
    ),
    RealTime.PAPER: ((0x0C, Sign.NEAR_END), (0x60, Sign.PAPER_END)),
}
# The same facts in the four bytes of the automatic status: (byte, mask).
AUTO_STATUS_BITS: tuple[tuple[int, int, Sign], ...] = (
    (0, 0x04, Sign.DRAWER),
    (0, 0x08, Sign.OFFLINE),
    (0, 0x20, Sign.COVER_OPEN),
    (0, 0x40, Sign.FEED_BUTTON),
    (1, 0x01, Sign.WAIT_RECOVERY),
    (1, 0x04, Sign.MECHANICAL),
    (1, 0x08, Sign.CUTTER),
    (1, 0x20, Sign.UNRECOVERABLE),
    (1, 0x40, Sign.AUTO_RECOVERABLE),
    (2, 0x03, Sign.NEAR_END),
    (2, 0x0C, Sign.PAPER_END),
)


@dataclass(frozen=True, slots=True)
class RealTimeStatus:
    raw: int

    def signs(self, request: RealTime) -> frozenset[Sign]:
        return frozenset(sign for mask, sign in REAL_TIME_BITS[request] if self.raw & mask)


@dataclass(frozen=True, slots=True)
class AutoStatus:
    raw: bytes

    def signs(self) -> frozenset[Sign]:
        return frozenset(sign for at, mask, sign in AUTO_STATUS_BITS if self.raw[at] & mask)


@dataclass(frozen=True, slots=True)
class BufferedStatus:
    """Answer to GS r: it also proves that everything sent before it has been printed."""

    raw: int


@dataclass(frozen=True, slots=True)
class InfoBlock:
    text: str


@dataclass(frozen=True, slots=True)
class LineFault:
    """Bytes that no printer sends: wrong speed, noise or something else on the line."""

    raw: bytes


StatusEvent = RealTimeStatus | AutoStatus | BufferedStatus | InfoBlock | LineFault


def real_time_request(request: RealTime) -> bytes:
    return bytes([0x10, 0x04, request])


def identity_request(item: Identity) -> bytes:
    return bytes([0x1D, 0x49, item])


def counter_request(counter: Counter) -> bytes:
    """GS g 2. Printers without it say nothing, or something else."""
    return b"\x1d\x67\x32\x00" + counter.to_bytes(2, "little")


def counter_value(text: str) -> int | None:
    """Of the text of the answer: its decimal digits. None for anything else."""
    is_number = 0 < len(text) <= MAX_COUNTER_DIGITS and text.isascii() and text.isdigit()
    return int(text) if is_number else None


def paper_request() -> bytes:
    """GS r 1: buffered, so that the answer comes after what was printed before."""
    return b"\x1d\x72\x01"


def auto_status(*, enabled: bool) -> bytes:
    return b"\x1d\x61\x0f" if enabled else b"\x1d\x61\x00"


def print_job(lines: tuple[str, ...], *, encoding: str, feed_lines: int = 4) -> bytes:
    """Text, feed and a partial cut. Control characters in the text become spaces: text is never a command."""
    clean = ("".join(char if char.isprintable() else " " for char in line) for line in lines)
    text = b"".join(line.encode(encoding, errors="replace") + b"\n" for line in clean)
    return INITIALISE + text + bytes([0x1B, 0x64, min(feed_lines, MAX_FEED_LINES)]) + b"\x1d\x56\x42\x00"


class StatusReader:
    """Feed it whatever the port returned."""

    def __init__(self) -> None:
        self.fault_bytes = 0
        self._auto = bytearray()
        self._block: bytearray | None = None

    @property
    def in_group(self) -> bool:
        return bool(self._auto) or self._block is not None

    def feed(self, chunk: bytes) -> list[StatusEvent]:
        events: list[StatusEvent] = []
        for byte in chunk:
            if self._block is not None:
                self._step_block(byte, events)
            elif byte not in {XON, XOFF}:
                self._step(byte, events)
        return events

    def on_silence(self) -> list[StatusEvent]:
        """The printer paused: an unfinished group will not be completed."""
        pending = bytes(self._auto) + (b"" if self._block is None else bytes([_BLOCK_START]) + bytes(self._block))
        self._auto.clear()
        self._block = None
        return [self._fault(pending)] if pending else []

    def _step(self, byte: int, events: list[StatusEvent]) -> None:
        if self._auto:
            if byte & 0x90 == 0:
                self._auto.append(byte)
                if len(self._auto) == AUTO_STATUS_BYTES:
                    events.append(AutoStatus(bytes(self._auto)))
                    self._auto.clear()
                return
            events.append(self._fault(bytes(self._auto)))
            self._auto.clear()
        if byte & 0x93 == 0x12:
            events.append(RealTimeStatus(byte))
        elif byte & 0x93 == 0x10:
            self._auto.append(byte)
        elif byte == _BLOCK_START:
            self._block = bytearray()
        elif byte & 0x90 == 0:
            events.append(BufferedStatus(byte))
        else:
            events.append(self._fault(bytes([byte])))

    def _step_block(self, byte: int, events: list[StatusEvent]) -> None:
        block = self._block if self._block is not None else bytearray()
        if byte == 0:
            events.append(InfoBlock(block.decode("ascii", errors="replace")))
            self._block = None
        elif len(block) >= MAX_BLOCK_BYTES or not 0x20 <= byte < 0x7F:
            self._block = None
            events.append(self._fault(bytes([_BLOCK_START]) + bytes(block)))
            # The byte that broke the block may itself begin the next answer.
            self._step(byte, events)
        else:
            block.append(byte)

    def _fault(self, raw: bytes) -> LineFault:
        self.fault_bytes += len(raw)
        return LineFault(raw)
