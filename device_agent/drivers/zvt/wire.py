"""ZVT transport (PA00P016 rev. 04, chapters 3 and 4): bytes in, APDUs out.

Serial block, every literal 10 in the APDU doubled, the CRC bytes never:

    DLE STX  APDU  DLE ETX  CRC low  CRC high          answered by ACK (06) or NAK (15)

CRC-16/KERMIT (polynomial 0x8408 reflected, start 0) over the undoubled APDU and ETX. Over TCP the APDU comes bare.

Invariants: events depend on the byte stream alone, never on its chunks; no input raises; a candidate frame is bounded
by `MAX_APDU_BYTES` in size and by the caller's `on_silence` in time. A 06 or 15 inside a damaged frame is never taken
for an acknowledgement. Meaning of APDUs is left to `apdu` and `messages`, timers and repeats to `device`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from device_agent.errors import AgentError

DLE, STX, ETX, ACK, NAK = 0x10, 0x02, 0x03, 0x06, 0x15
ACK_BYTES, NAK_BYTES = bytes([ACK]), bytes([NAK])
# The protocol allows 65,540; a text block of a long receipt is about 1,100. More is damage to us.
MAX_APDU_BYTES = 4096
# The inside of a damaged frame is searched for a frame that was cut into it; each byte from the line pays for
# searching so many, so that a hostile stream cannot make the work grow with its square.
REPLAY_BYTES_PER_BYTE = 8
MAX_REPLAY_CREDIT = 65_536
_SHORT_HEADER_BYTES = 3
_LONG_HEADER_BYTES = 5
_LONG_LENGTH = 0xFF
# Classes a terminal or register may start an APDU with (PA00P015); bare TCP bytes outside them are not an APDU.
_CLASSES = frozenset({0x04, 0x05, 0x06, 0x08, 0x0F, 0x80, 0x84})


class Damage(Enum):
    CRC = "crc"
    CUT_SHORT = "cut_short"
    STRAY_ESCAPE = "stray_escape"
    OVERSIZE = "oversize"
    LENGTH = "length"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Frame:
    apdu: bytes


@dataclass(frozen=True, slots=True)
class BadFrame:
    damage: Damage


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The peer took our block."""


@dataclass(frozen=True, slots=True)
class NotAcknowledged:
    """The peer wants our block again."""


WireEvent = Frame | BadFrame | Acknowledged | NotAcknowledged


class ApduTooLong(AgentError):
    """Raised by the caller's mistake only; a peer cannot cause it."""

    code = "apdu_too_long"


def crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
    return crc


def encode_block(apdu: bytes) -> bytes:
    if len(apdu) > MAX_APDU_BYTES:
        raise ApduTooLong(f"APDU is {len(apdu)} bytes, limit {MAX_APDU_BYTES}")
    doubled = apdu.replace(b"\x10", b"\x10\x10")
    crc = crc16(apdu + bytes([ETX]))
    return bytes([DLE, STX]) + doubled + bytes([DLE, ETX]) + crc.to_bytes(2, "little")


def expected_length(start: bytes) -> int | None:
    """Whole length of the APDU that begins so, or None while its header is incomplete."""
    if len(start) < _SHORT_HEADER_BYTES:
        return None
    if start[2] != _LONG_LENGTH:
        return _SHORT_HEADER_BYTES + start[2]
    if len(start) < _LONG_HEADER_BYTES:
        return None
    return _LONG_HEADER_BYTES + int.from_bytes(start[3:5], "little")


class _At(Enum):
    IDLE = auto()
    IDLE_DLE = auto()
    BODY = auto()
    BODY_DLE = auto()
    CRC_LOW = auto()
    CRC_HIGH = auto()


class SerialReader:
    """Feed it whatever the port returned."""

    def __init__(self) -> None:
        self.noise_bytes = 0
        self._at = _At.IDLE
        self._raw = bytearray()
        self._body = bytearray()
        self._crc_low = 0
        self._replay_credit = MAX_REPLAY_CREDIT

    @property
    def in_frame(self) -> bool:
        return self._at is not _At.IDLE

    def feed(self, chunk: bytes) -> list[WireEvent]:
        events: list[WireEvent] = []
        # What a damaged frame held is looked through once more before the bytes that came after it.
        stack = [(chunk, False)]
        while stack:
            data, is_replay = stack.pop()
            for index, byte in enumerate(data):
                if not is_replay:
                    self._replay_credit = min(self._replay_credit + REPLAY_BYTES_PER_BYTE, MAX_REPLAY_CREDIT)
                event = self._step(byte, is_replay=is_replay)
                if event is None:
                    continue
                events.append(event)
                if inside := self._take_damaged(event):
                    stack += [(data[index + 1 :], is_replay), (inside, True)]
                    break
        return events

    def on_silence(self) -> list[WireEvent]:
        """The peer paused longer than a block may: what is incomplete will never be completed."""
        if self._at is _At.IDLE:
            return []
        had_start = self._at is not _At.IDLE_DLE
        self._count_raw_as_noise()
        return [BadFrame(Damage.SILENCE)] if had_start else []

    def _step(self, byte: int, *, is_replay: bool) -> WireEvent | None:
        match self._at:
            case _At.IDLE:
                return self._step_idle(byte, is_replay=is_replay)
            case _At.IDLE_DLE:
                return self._step_start(byte, is_replay=is_replay)
            case _At.BODY:
                return self._step_body(byte)
            case _At.BODY_DLE:
                return self._step_escape(byte)
            case _At.CRC_LOW:
                self._raw.append(byte)
                self._crc_low = byte
                self._at = _At.CRC_HIGH
                return None
            case _At.CRC_HIGH:
                self._raw.append(byte)
                return self._finish(self._crc_low | byte << 8)

    def _step_idle(self, byte: int, *, is_replay: bool) -> WireEvent | None:
        if byte == DLE:
            self._raw = bytearray([DLE])
            self._at = _At.IDLE_DLE
        elif byte == ACK and not is_replay:
            return Acknowledged()
        elif byte == NAK and not is_replay:
            return NotAcknowledged()
        else:
            self.noise_bytes += 1
        return None

    def _step_start(self, byte: int, *, is_replay: bool) -> WireEvent | None:
        if byte == STX:
            self._begin()
            return None
        self._count_raw_as_noise()
        return self._step_idle(byte, is_replay=is_replay)

    def _step_body(self, byte: int) -> WireEvent | None:
        self._raw.append(byte)
        if byte == DLE:
            self._at = _At.BODY_DLE
            return None
        return self._append(byte)

    def _step_escape(self, byte: int) -> WireEvent | None:
        if byte == STX:
            # No literal STX follows a lone DLE inside a block: the old block was cut and this is a new one.
            self.noise_bytes += len(self._raw) - 1
            self._begin()
            return BadFrame(Damage.CUT_SHORT)
        self._raw.append(byte)
        if byte == DLE:
            self._at = _At.BODY
            return self._append(byte)
        if byte == ETX:
            self._at = _At.CRC_LOW
            return None
        return self._fail(Damage.STRAY_ESCAPE)

    def _append(self, byte: int) -> WireEvent | None:
        if len(self._body) >= MAX_APDU_BYTES:
            return self._fail(Damage.OVERSIZE)
        self._body.append(byte)
        return None

    def _finish(self, crc: int) -> WireEvent:
        apdu = bytes(self._body)
        if crc16(apdu + bytes([ETX])) != crc:
            return self._fail(Damage.CRC)
        if expected_length(apdu) != len(apdu):
            return self._fail(Damage.LENGTH)
        self._reset()
        return Frame(apdu)

    def _begin(self) -> None:
        self._raw = bytearray([DLE, STX])
        self._body.clear()
        self._at = _At.BODY

    def _fail(self, damage: Damage) -> BadFrame:
        self._at = _At.IDLE
        return BadFrame(damage)

    def _take_damaged(self, event: WireEvent) -> bytes:
        """What is to be searched behind the start of the frame that just failed; the rest of it is noise."""
        if not isinstance(event, BadFrame) or self._at is not _At.IDLE:
            return b""
        inside = bytes(self._raw[2:])
        if len(inside) > self._replay_credit:
            inside = b""
        self._replay_credit -= len(inside)
        self.noise_bytes += len(self._raw) - len(inside)
        self._reset()
        return inside

    def _count_raw_as_noise(self) -> None:
        self.noise_bytes += len(self._raw)
        self._reset()

    def _reset(self) -> None:
        self._at = _At.IDLE
        self._raw = bytearray()
        self._body.clear()


class TcpReader:
    """The same events from a TCP stream, which has neither blocks nor acknowledgements."""

    def __init__(self) -> None:
        self.noise_bytes = 0
        self._pending = bytearray()

    @property
    def in_frame(self) -> bool:
        return bool(self._pending)

    def feed(self, chunk: bytes) -> list[WireEvent]:
        self._pending += chunk
        events: list[WireEvent] = []
        while self._pending:
            if self._pending[0] not in _CLASSES:
                self._skip(1)
                continue
            length = expected_length(bytes(self._pending[:_LONG_HEADER_BYTES]))
            if length is None:
                break
            if length > MAX_APDU_BYTES:
                events.append(BadFrame(Damage.OVERSIZE))
                self._skip(1)
                continue
            if len(self._pending) < length:
                break
            events.append(Frame(bytes(self._pending[:length])))
            del self._pending[:length]
        return events

    def on_silence(self) -> list[WireEvent]:
        if not self._pending:
            return []
        self._skip(len(self._pending))
        return [BadFrame(Damage.SILENCE)]

    def _skip(self, count: int) -> None:
        self.noise_bytes += count
        del self._pending[:count]
