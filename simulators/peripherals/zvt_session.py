"""How a simulated ZVT terminal talks: blocks and acknowledgements on a serial line, bare APDUs over TCP.

One command runs at a time as a script of steps. After a response (80 00, 84 xx) the next step follows; after a command
of its own (completion, print line ...) the terminal waits for the register's reply. On a serial line a block that is
not acknowledged within T2 is sent again, twice (PA00P016 3.5). Invariant: a register that vanishes never leaves the
session stuck for longer than its timers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from device_agent.drivers.zvt.apdu import Apdu, decode_apdu
from device_agent.drivers.zvt.wire import (
    ACK_BYTES,
    NAK_BYTES,
    Acknowledged,
    BadFrame,
    Frame,
    NotAcknowledged,
    SerialReader,
    TcpReader,
    WireEvent,
    encode_block,
)

if TYPE_CHECKING:
    import threading

# PA00P016 rev. 04: T1 between two bytes, T2 until the acknowledgement, T3 until the response; two repeats.
T1_S, T2_S, T3_S = 0.2, 5.0, 5.0
MAX_REPEATS = 2


@dataclass(frozen=True, slots=True)
class Step:
    """One APDU of the terminal, sent so long after the step before."""

    apdu: Apdu
    after_s: float = 0.0

    @property
    def is_response(self) -> bool:
        return self.apdu.control >> 8 in {0x80, 0x84}


class Responder(Protocol):
    lock: threading.RLock

    def answer(self, command: Apdu) -> list[Step]: ...


class _Wait(Enum):
    NOTHING = auto()
    ACKNOWLEDGEMENT = auto()
    REPLY = auto()


class ZvtSession:
    def __init__(self, terminal: Responder, *, is_serial: bool) -> None:
        self._terminal = terminal
        self._is_serial = is_serial
        self._reader: SerialReader | TcpReader = SerialReader() if is_serial else TcpReader()
        self._script: deque[Step] = deque()
        self._sent: Step | None = None
        self._wait = _Wait.NOTHING
        self._waiting_since_s = 0.0
        self._ready_at_s = 0.0
        self._repeats = 0
        self._heard_at_s = 0.0
        self._out = bytearray()

    def receive(self, data: bytes, now_s: float) -> bytes:
        with self._terminal.lock:
            self._heard_at_s = now_s
            for event in self._reader.feed(data):
                self._on_event(event, now_s)
            self._send_due(now_s)
            return self._take_output()

    def tick(self, now_s: float) -> bytes:
        with self._terminal.lock:
            if self._reader.in_frame and now_s - self._heard_at_s > T1_S:
                for event in self._reader.on_silence():
                    self._on_event(event, now_s)
            self._check_timers(now_s)
            self._send_due(now_s)
            return self._take_output()

    def _on_event(self, event: WireEvent, now_s: float) -> None:
        match event:
            case Frame(apdu):
                self._acknowledge(ACK_BYTES)
                decoded = decode_apdu(apdu)
                if decoded is not None:
                    self._on_apdu(decoded, now_s)
            case BadFrame():
                self._acknowledge(NAK_BYTES)
            case Acknowledged():
                self._on_acknowledged(now_s)
            case NotAcknowledged():
                self._repeat(now_s)

    def _on_apdu(self, apdu: Apdu, now_s: float) -> None:
        if apdu.control >> 8 in {0x80, 0x84}:
            # A reply can overtake its acknowledgement when that one was lost.
            if self._wait is not _Wait.NOTHING:
                self._advance(now_s)
            return
        self._script = deque(self._terminal.answer(apdu))
        self._advance(now_s)

    def _on_acknowledged(self, now_s: float) -> None:
        if self._wait is not _Wait.ACKNOWLEDGEMENT or self._sent is None:
            return
        if self._sent.is_response:
            self._advance(now_s)
        else:
            self._wait = _Wait.REPLY
            self._waiting_since_s = now_s

    def _advance(self, now_s: float) -> None:
        self._wait = _Wait.NOTHING
        self._sent = None
        self._ready_at_s = now_s

    def _send_due(self, now_s: float) -> None:
        while self._script and self._wait is _Wait.NOTHING and now_s >= self._ready_at_s + self._script[0].after_s:
            self._sent = self._script.popleft()
            self._repeats = 0
            self._transmit(now_s)

    def _transmit(self, now_s: float) -> None:
        if self._sent is None:
            return
        raw = self._sent.apdu.encode()
        self._out += encode_block(raw) if self._is_serial else raw
        self._waiting_since_s = now_s
        if self._is_serial:
            self._wait = _Wait.ACKNOWLEDGEMENT
        elif self._sent.is_response:
            self._advance(now_s)
        else:
            self._wait = _Wait.REPLY

    def _repeat(self, now_s: float) -> None:
        if self._wait is not _Wait.ACKNOWLEDGEMENT:
            return
        self._repeats += 1
        if self._repeats > MAX_REPEATS:
            self._give_up(now_s)
        else:
            self._transmit(now_s)

    def _check_timers(self, now_s: float) -> None:
        waited_s = now_s - self._waiting_since_s
        if self._wait is _Wait.ACKNOWLEDGEMENT and waited_s > T2_S:
            self._repeat(now_s)
        elif self._wait is _Wait.REPLY and waited_s > T3_S:
            self._give_up(now_s)

    def _give_up(self, now_s: float) -> None:
        self._script.clear()
        self._advance(now_s)

    def _acknowledge(self, answer: bytes) -> None:
        if self._is_serial:
            self._out += answer

    def _take_output(self) -> bytes:
        out = bytes(self._out)
        self._out.clear()
        return out
