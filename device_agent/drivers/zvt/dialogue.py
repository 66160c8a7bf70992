"""The register's side of one ZVT command, from sending it to its completion (PA00P016 rev. 04, chapters 3 and 5).

    command -> [ACK] -> 80 00 | 84 xx -> [ACK] -> { 04 FF | 04 0F | 06 D1 | ... -> 80 00 } -> 06 0F | 06 1E -> 80 00

Invariants: every block that arrives whole is acknowledged, every damaged one refused, and every APDU of the terminal
answered; no dialogue lasts longer than its timers and `LONGEST_FACTOR` allow; a dialogue that failed leaves nothing
behind that the next one could take for its own answer.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.drivers.zvt.messages import (
    POSITIVE_RESPONSE,
    Abort,
    Completion,
    IntermediateStatus,
    Message,
    Negative,
    Positive,
    PrintLine,
    StatusInformation,
    parse_message,
)
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
from device_agent.errors import DeviceNotAnswering

if TYPE_CHECKING:
    from device_agent.drivers.line import Line
    from device_agent.drivers.zvt.apdu import Apdu

# PA00P016 3.4.1: pause after which an unfinished block is lost.
T1_S = 0.2
MAX_RECEIPT_LINES = 200
# Intermediate status restarts T4; a terminal that sends nothing else is given up after so many of them.
LONGEST_FACTOR = 2.0
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class ZvtTimers:
    """The standard allows 5 s for an acknowledgement; a terminal on a cable answers within a few bytes' time."""

    acknowledgement_s: float = 1.0
    response_s: float = 5.0
    completion_s: float = 180.0
    repeats: int = 2


@dataclass(frozen=True, slots=True)
class Ending:
    """How the command ended and what came on the way."""

    message: Completion | Abort | Negative
    receipt: tuple[str, ...] = ()
    information: StatusInformation | None = None


class RegisterSide:
    def __init__(self, line: Line, *, is_serial: bool, timers: ZvtTimers) -> None:
        self._line = line
        self._is_serial = is_serial
        self._timers = timers
        self._events: deque[WireEvent] = deque()
        self._reader: SerialReader | TcpReader = SerialReader()
        self._reset()

    def run(self, command: Apdu, *, completion_s: float | None = None, repeats: int | None = None) -> Ending:
        """Raises DeviceNotAnswering, and LineDown when the port itself is gone."""
        limit_s = self._timers.completion_s if completion_s is None else completion_s
        self._line.begin_exchange()
        self._reset()
        self._line.drain()
        try:
            self._send(command, self._timers.repeats if repeats is None else repeats)
            first = self._await_message(self._line.now_s() + self._timers.response_s, "response")
            if isinstance(first, Negative):
                return Ending(first)
            # Some terminals skip the response when the completion is ready at once.
            return self._until_end(limit_s, None if isinstance(first, Positive) else first)
        except DeviceNotAnswering:
            self._line.count_timeout()
            if not self._is_serial:
                # PA00P016 5.2.5: after a time-out the connection counts as broken.
                self._line.close()
            raise

    def _until_end(self, limit_s: float, first: Message | None) -> Ending:
        receipt: list[str] = []
        information: StatusInformation | None = None
        started_s = self._line.now_s()
        deadline_s = started_s + limit_s
        message = first
        while True:
            if message is None:
                message = self._await_message(deadline_s, "completion")
            match message:
                case Completion() | Abort():
                    self._reply()
                    return Ending(message, tuple(receipt), information)
                case IntermediateStatus():
                    deadline_s = min(self._line.now_s(), started_s + limit_s * (LONGEST_FACTOR - 1.0)) + limit_s
                case PrintLine(text) if len(receipt) < MAX_RECEIPT_LINES:
                    receipt.append(text)
                case StatusInformation():
                    information = message
            if not isinstance(message, Positive | Negative):
                self._reply()
            message = None

    def _reply(self) -> None:
        """A reply that is not acknowledged is not repeated: the terminal repeats what it wants answered."""
        raw = POSITIVE_RESPONSE.encode()
        self._line.write(encode_block(raw) if self._is_serial else raw)

    def _send(self, command: Apdu, repeats: int) -> None:
        raw = command.encode()
        if not self._is_serial:
            self._line.write(raw)
            return
        block = encode_block(raw)
        for _ in range(1 + repeats):
            self._line.write(block)
            if self._is_acknowledged(self._line.now_s() + self._timers.acknowledgement_s):
                return
        raise DeviceNotAnswering(f"no acknowledgement after sending {1 + repeats} times")

    def _is_acknowledged(self, deadline_s: float) -> bool:
        while (event := self._next_event(deadline_s)) is not None:
            match event:
                case Acknowledged():
                    return True
                case NotAcknowledged():
                    self._line.count_nak()
                    return False
                case Frame():
                    # The answer itself: its acknowledgement was lost on the way.
                    self._events.appendleft(event)
                    return True
                case BadFrame():
                    pass
        return False

    def _await_message(self, deadline_s: float, what: str) -> Message:
        while (event := self._next_event(deadline_s)) is not None:
            if isinstance(event, Frame):
                return parse_message(event.apdu)
        raise DeviceNotAnswering(f"no {what} in time")

    def _next_event(self, deadline_s: float) -> WireEvent | None:
        while not self._events:
            left_s = deadline_s - self._line.now_s()
            if left_s <= 0:
                return None
            data = self._line.read(min(left_s, T1_S if self._reader.in_frame else _POLL_S))
            self._take(data)
        return self._events.popleft()

    def _take(self, data: bytes) -> None:
        noise_before = self._reader.noise_bytes
        events = self._reader.feed(data) if data else self._reader.on_silence()
        good = sum(isinstance(event, Frame) for event in events)
        bad = sum(isinstance(event, BadFrame) for event in events)
        self._line.count_frames(good, bad, self._reader.noise_bytes - noise_before)
        if self._is_serial:
            for event in events:
                if isinstance(event, Frame):
                    self._line.write(ACK_BYTES)
                elif isinstance(event, BadFrame):
                    self._line.write(NAK_BYTES)
        self._events.extend(events)

    def _reset(self) -> None:
        self._events.clear()
        self._reader = SerialReader() if self._is_serial else TcpReader()
