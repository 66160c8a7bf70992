"""A receipt printer as the agent sees it.

`poll`, `status` and `identity` read. `print_test` prints. The printer is asked one thing at a time, because a real-time
answer does not say which question it answers; after a silence the line is let run dry before the next question.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.drivers import line_signs
from device_agent.drivers.attached import AttachedDevice
from device_agent.drivers.escpos import wire
from device_agent.drivers.escpos.wire import Identity, RealTime, Sign
from device_agent.drivers.line import LineDown
from device_agent.drivers.results import (
    LINE_SILENT_CODE,
    Answer,
    FaultSign,
    Outcome,
    PollResult,
    Reading,
)
from device_agent.errors import ActionFailed, DeviceNotAnswering
from protocol.safety import Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from device_agent.drivers.port import PortOpener

# A printer answers in real time: a few bytes at 9600 baud and some milliseconds of firmware.
ANSWER_S = 0.5
PRINT_S = 15.0
_QUIET_S = 0.1
_MAX_QUIET_READS = 10
_TRIES = 2
MAX_TEST_LINES = 40
MAX_TEST_LINE_CHARACTERS = 96

# Not faults: the drawer's level and a finger on the feed button.
_ORDINARY = frozenset({Sign.DRAWER, Sign.FEED_BUTTON})
_BLOCKING = (
    Sign.PAPER_END,
    Sign.COVER_OPEN,
    Sign.CUTTER,
    Sign.MECHANICAL,
    Sign.UNRECOVERABLE,
    Sign.AUTO_RECOVERABLE,
    Sign.PAPER_STOP,
    Sign.ERROR,
    Sign.OFFLINE,
)
# First that holds, in the words of the metric prn.status.
_STATUS_WORDS = (
    (Sign.PAPER_END, "paper_out"),
    (Sign.COVER_OPEN, "cover_open"),
    (Sign.CUTTER, "cutter_error"),
    (Sign.AUTO_RECOVERABLE, "overheat"),
    (Sign.MECHANICAL, "fault"),
    (Sign.UNRECOVERABLE, "fault"),
    (Sign.ERROR, "fault"),
    (Sign.OFFLINE, "offline"),
    (Sign.NEAR_END, "paper_near"),
)


@dataclass(frozen=True, slots=True)
class PrinterState:
    signs: frozenset[Sign] = frozenset()
    raw: tuple[int, ...] = ()
    conditions: frozenset[Condition] = frozenset()

    @property
    def blocking(self) -> Sign | None:
        return next((sign for sign in _BLOCKING if sign in self.signs), None)


class PrinterDevice(AttachedDevice):
    family = "escpos"

    def __init__(
        self, open_port: PortOpener, *, encoding: str = "gb18030", monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(open_port, monotonic=monotonic)
        self._reader = wire.StatusReader()
        self._encoding = encoding

    def conditions(self) -> frozenset[Condition]:
        """A printer by itself is never in the middle of a payment."""
        return frozenset()

    def poll(self, now: datetime) -> PollResult[PrinterState]:
        try:
            state = self._ask_all()
            self._read_firmware(state)
        except (DeviceNotAnswering, LineDown) as error:
            self._forget_firmware()
            faults = frozenset({line_signs.silent(str(error))}) | line_signs.noise_signs(self._line)
            readings: dict[str, Reading] = {**self._line.readings(), "prn.status": "offline"}
            return PollResult(now, False, readings, faults, PrinterState(), self._line.statistics)
        readings = {**self._line.readings(), **_readings(state)}
        if self._firmware is not None:
            readings["sys.firmware_ver"] = self._firmware
        faults = _faults(state) | line_signs.noise_signs(self._line)
        return PollResult(now, True, readings, faults, state, self._line.statistics)

    def status(self) -> Answer:
        try:
            state = self._ask_all()
        except (DeviceNotAnswering, LineDown) as error:
            return _unanswered(error)
        values = {**_readings(state), "raw": bytes(state.raw).hex(" ")}
        first = state.blocking or (Sign.NEAR_END if Sign.NEAR_END in state.signs else None)
        return Answer(Outcome.DONE, None if first is None else first.value, _evidence(state), values)

    def identity(self) -> Answer:
        """Maker, model, firmware and serial number. A blocked printer cannot say: the question waits in its buffer."""
        try:
            state = self._ask_all()
            if state.blocking is not None:
                return Answer(Outcome.REFUSED, state.blocking.value, f"printer is blocked: {_evidence(state)}")
            values: dict[str, Reading] = {}
            for item in Identity:
                text = self._ask_identity(item)
                if text is not None:
                    values[item.name.lower()] = text
        except (DeviceNotAnswering, LineDown) as error:
            return _unanswered(error)
        if not values:
            return Answer(Outcome.NO_ANSWER, None, "printer does not tell its identity")
        return Answer(Outcome.DONE, None, "GS I", values)

    def identity_text(self) -> str:
        """Its serial number; empty from a printer that is blocked or has none to tell."""
        try:
            if self._ask_all().blocking is not None:
                return ""
            serial = self._ask_identity(Identity.SERIAL)
        except LineDown as error:
            raise DeviceNotAnswering(str(error)) from error
        if serial is None:
            self._run_dry()
        return serial or ""

    def lines_fed(self) -> int | None:
        """How many lines it has fed in its life, which rises with all that comes out of it; None from a printer that
        is blocked or does not count. Nothing guards the answer against noise, so it counts when it comes twice.
        """
        if self._ask_all().blocking is not None:
            return None
        first = self._ask_counter()
        return first if first is not None and first == self._ask_counter() else None

    def _ask_counter(self) -> int | None:
        self._line.write(wire.counter_request(wire.Counter.LINES_FED))
        event = self._await(wire.InfoBlock, ANSWER_S)
        value = wire.counter_value(event.text) if isinstance(event, wire.InfoBlock) else None
        if value is None:
            self._run_dry()
        return value

    def _read_firmware(self, state: PrinterState) -> None:
        """Nothing guards the text against noise, so it counts when it comes twice. A blocked printer is asked later."""
        if state.blocking is not None or not self._is_firmware_due():
            return
        first = self._ask_identity(Identity.FIRMWARE)
        if first is None:
            self._run_dry()
        elif first.isprintable() and first == self._ask_identity(Identity.FIRMWARE):
            self._firmware = first

    def _ask_identity(self, item: Identity) -> str | None:
        self._line.write(wire.identity_request(item))
        event = self._await(wire.InfoBlock, ANSWER_S)
        return event.text if isinstance(event, wire.InfoBlock) else None

    def print_test(self, lines: Sequence[str], *, timeout_s: float = PRINT_S) -> Answer:
        """Prints and cuts, then asks whether it really came out. Nothing is sent to a printer that cannot print now."""
        text = tuple(line[:MAX_TEST_LINE_CHARACTERS] for line in lines[:MAX_TEST_LINES])
        try:
            before = self._ask_all()
            if before.blocking is not None:
                return Answer(Outcome.REFUSED, before.blocking.value, f"nothing sent: {_evidence(before)}")
            self._line.begin_exchange()
            self._line.write(wire.print_job(text, encoding=self._encoding) + wire.paper_request())
            finished = self._await(wire.BufferedStatus, timeout_s)
            after = self._ask_all()
        except (DeviceNotAnswering, LineDown) as error:
            return _unanswered(error)
        if after.blocking is not None:
            return Answer(Outcome.REFUSED, after.blocking.value, f"after printing: {_evidence(after)}", lines=text)
        if finished is None:
            self._line.count_timeout()
            return Answer(Outcome.NO_ANSWER, None, f"printing not finished after {timeout_s:g} s", lines=text)
        return Answer(Outcome.DONE, None, f"printed: {_evidence(after)}", _readings(after), lines=text)

    def show_to_merchant(self, lines: Sequence[str]) -> None:
        answer = self.print_test(lines)
        if not answer.is_done:
            raise ActionFailed("not_printed", f"print: {answer.evidence[:120]}")

    def _ask_all(self) -> PrinterState:
        self._line.begin_exchange()
        signs: frozenset[Sign] = frozenset()
        raw = []
        self._take(self._line.drain())
        for request in RealTime:
            answer = self._ask(request)
            signs |= answer.signs(request)
            raw.append(answer.raw)
        return PrinterState(signs, tuple(raw))

    def _ask(self, request: RealTime) -> wire.RealTimeStatus:
        for _ in range(_TRIES):
            self._line.write(wire.real_time_request(request))
            event = self._await(wire.RealTimeStatus, ANSWER_S)
            if isinstance(event, wire.RealTimeStatus):
                return event
            self._line.count_timeout()
            self._run_dry()
        raise DeviceNotAnswering(f"DLE EOT {request.value}: no valid answer in {_TRIES} tries of {ANSWER_S:g} s")

    def _await(self, kind: type[wire.StatusEvent], timeout_s: float) -> wire.StatusEvent | None:
        deadline_s = self._line.now_s() + timeout_s
        while (left_s := deadline_s - self._line.now_s()) > 0:
            for event in self._take(self._line.read(left_s)):
                if isinstance(event, kind):
                    return event
        for event in self._reader.on_silence():
            self._count(event)
        return None

    def _take(self, data: bytes) -> list[wire.StatusEvent]:
        events = self._reader.feed(data)
        for event in events:
            self._count(event)
        return events

    def _count(self, event: wire.StatusEvent) -> None:
        if isinstance(event, wire.LineFault):
            self._line.count_frames(bad=1, noise_bytes=len(event.raw))
        else:
            self._line.count_frames(good=1)

    def _run_dry(self) -> None:
        """A late answer must not be taken for the answer to the next question."""
        for _ in range(_MAX_QUIET_READS):
            data = self._line.read(_QUIET_S)
            if not data:
                return
            self._take(data)


def _unanswered(error: DeviceNotAnswering | LineDown) -> Answer:
    outcome = Outcome.LINE_DOWN if isinstance(error, LineDown) else Outcome.NO_ANSWER
    return Answer(outcome, LINE_SILENT_CODE, str(error))


def _evidence(state: PrinterState) -> str:
    return f"DLE EOT 1-4: {bytes(state.raw).hex(' ')}"


def _faults(state: PrinterState) -> frozenset[FaultSign]:
    return frozenset(FaultSign(sign.value, _evidence(state)) for sign in state.signs - _ORDINARY)


def _readings(state: PrinterState) -> dict[str, Reading]:
    word = next((word for sign, word in _STATUS_WORDS if sign in state.signs), "ok")
    return {"prn.status": word, "prn.paper_near_end": Sign.NEAR_END in state.signs}
