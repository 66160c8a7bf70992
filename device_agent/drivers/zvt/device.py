"""A ZVT payment terminal as the agent sees it.

`poll` and `status_enquiry` read (05 01). `diagnosis` (06 70) makes the terminal call its host and report: it changes
nothing on the terminal, yet it is not free: it takes seconds, and the slip it ends with goes to this line only while
the register prints (registration bit 2); a terminal that prints for itself puts it on its own paper, which the answer's
evidence says. Everything else acts and is named so. Nothing here raises for what the terminal does.

What the status byte cannot show (no registration, no keys) is kept from the last function that called the host, and is
part of every poll until another one succeeds. Before the first one nothing is known of it, and a poll says so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agent.drivers import line_signs
from device_agent.drivers.attached import AttachedDevice
from device_agent.drivers.line import LineDown
from device_agent.drivers.results import (
    LINE_SILENT_CODE,
    Answer,
    FaultSign,
    Outcome,
    PollResult,
    Reading,
)
from device_agent.drivers.zvt import codes, messages
from device_agent.drivers.zvt.apdu import Apdu
from device_agent.drivers.zvt.dialogue import Ending, RegisterSide, ZvtTimers
from device_agent.errors import DeviceNotAnswering
from protocol.safety import Condition

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from device_agent.drivers.port import PortOpener

# A status answer comes at once; what calls the host may take the standard's three minutes.
STATUS_COMPLETION_S = 5.0
RESTART_COMPLETION_S = 60.0
_POLL_REPEATS = 1
_HELD_CODES = frozenset(str(codes.result_code(result)) for result in codes.HELD_RESULTS)
DEFAULT_PASSWORD = b"\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class ZvtState:
    """Of the last answer; None: never answered or not said."""

    status: int | None = None
    software_version: str | None = None
    device_name: str | None = None
    serial_number: str | None = None
    conditions: frozenset[Condition] = frozenset()


class ZvtDevice(AttachedDevice):
    family = "zvt"

    def __init__(
        self,
        open_port: PortOpener,
        *,
        is_serial: bool = True,
        password: bytes = DEFAULT_PASSWORD,
        timers: ZvtTimers | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(open_port, monotonic=monotonic)
        self._register = RegisterSide(self._line, is_serial=is_serial, timers=timers or ZvtTimers())
        self._password = password
        self._told_by_host: frozenset[FaultSign] | None = None

    @property
    def told_by_host(self) -> frozenset[FaultSign]:
        """What holds by the last function that called the host, and no status enquiry shows."""
        return self._told_by_host or frozenset()

    def poll(self, now: datetime) -> PollResult[ZvtState]:
        try:
            state = self._enquire(_POLL_REPEATS)
        except (DeviceNotAnswering, LineDown) as error:
            faults = frozenset({line_signs.silent(str(error))}) | line_signs.noise_signs(self._line)
            return PollResult(now, False, self._line.readings(), faults, ZvtState(), self._line.statistics)
        faults = _faults(state) | line_signs.noise_signs(self._line) | self.told_by_host
        untold = _HELD_CODES if self._told_by_host is None else frozenset[str]()
        readings = {**self._line.readings(), **_readings(state)}
        return PollResult(now, True, readings, faults, state, self._line.statistics, untold)

    def conditions(self) -> frozenset[Condition]:
        """What the terminal is in the middle of now. Raises DeviceNotAnswering: unknown is not idle."""
        try:
            return self._enquire(_POLL_REPEATS).conditions
        except LineDown as error:
            raise DeviceNotAnswering(str(error)) from error

    def identity_text(self) -> str:
        """Its serial number; empty from a terminal that is at work or does not tell."""
        try:
            return self._enquire(_POLL_REPEATS).serial_number or ""
        except LineDown as error:
            raise DeviceNotAnswering(str(error)) from error

    def status_enquiry(self) -> Answer:
        try:
            state = self._enquire(None)
        except (DeviceNotAnswering, LineDown) as error:
            return _unanswered(error)
        status = state.status if state.status is not None else codes.READY
        values: dict[str, Reading] = {**_readings(state), "status": f"{status:02X}"}
        return Answer(Outcome.DONE, codes.status_code(status), f"05 01: status {status:02X}", values)

    def diagnosis(self) -> Answer:
        answer = self._call_host("06 70", Apdu(messages.Control.DIAGNOSIS))
        if answer.is_done and not answer.lines:
            return Answer(answer.outcome, None, f"{answer.evidence}; no slip came here, it may be on its own paper")
        return answer

    def register(self, config_byte: int = messages.CONFIG_REGISTER_PRINTS) -> Answer:
        """Signs this line on as the register that prints; the terminal's earlier registration is replaced."""
        ending = self._try(messages.registration(self._password, config_byte), None)
        if not isinstance(ending, Ending) or not isinstance(ending.message, messages.Completion):
            return self._answer("06 00", ending)
        needs = messages.registration_needs(ending.message.data)
        words = ", ".join(sorted(need.name.lower() for need in needs)) or "nothing"
        return Answer(Outcome.DONE, None, f"06 00: registered, terminal asks for {words}")

    def initialise(self) -> Answer:
        return self._call_host("06 93", Apdu(messages.Control.INITIALISATION, self._password))

    def end_of_day(self) -> Answer:
        return self._call_host("06 50", Apdu(messages.Control.END_OF_DAY, self._password))

    def reset(self) -> Answer:
        return self._run("06 18", Apdu(messages.Control.RESET), RESTART_COMPLETION_S)

    def print_system_configuration(self) -> Answer:
        return self._run("06 1A", Apdu(messages.Control.PRINT_SYSTEM_CONFIGURATION), RESTART_COMPLETION_S)

    def _enquire(self, repeats: int | None) -> ZvtState:
        command = messages.status_enquiry(self._password)
        ending = self._register.run(command, completion_s=STATUS_COMPLETION_S, repeats=repeats)
        match ending.message:
            case messages.Completion(data):
                status = messages.parse_terminal_status(data)
                if status is None:
                    raise DeviceNotAnswering(f"05 01: completion of {len(data)} bytes has no status byte")
                return ZvtState(
                    status.status,
                    status.software_version,
                    status.device_name,
                    status.serial_number,
                    _conditions(status.status),
                )
            case messages.Abort(result) | messages.Negative(result):
                # A terminal that refuses even this is at work; its reason is as good as a status byte.
                return ZvtState(status=result, conditions=_conditions(result))

    def _call_host(self, name: str, command: Apdu) -> Answer:
        answer = self._run(name, command)
        if answer.is_done:
            self._told_by_host = frozenset()
        elif answer.code in _HELD_CODES:
            self._told_by_host = frozenset({FaultSign(answer.code, answer.evidence)})
        # A host that is out of reach, or a terminal at work, says nothing about either.
        return answer

    def _run(self, name: str, command: Apdu, completion_s: float | None = None) -> Answer:
        return self._answer(name, self._try(command, completion_s))

    def _try(self, command: Apdu, completion_s: float | None) -> Ending | Answer:
        try:
            return self._register.run(command, completion_s=completion_s)
        except (DeviceNotAnswering, LineDown) as error:
            return _unanswered(error)

    def _answer(self, name: str, ending: Ending | Answer) -> Answer:
        if isinstance(ending, Answer):
            return ending
        match ending.message:
            case messages.Completion():
                return Answer(Outcome.DONE, None, f"{name}: completed", lines=ending.receipt)
            case messages.Abort(result):
                return Answer(
                    Outcome.REFUSED, codes.result_code(result), f"{name}: aborted {result:02X}", lines=ending.receipt
                )
            case messages.Negative(result):
                return Answer(Outcome.REFUSED, codes.result_code(result), f"{name}: refused {result:02X}")


def _unanswered(error: DeviceNotAnswering | LineDown) -> Answer:
    outcome = Outcome.LINE_DOWN if isinstance(error, LineDown) else Outcome.NO_ANSWER
    return Answer(outcome, LINE_SILENT_CODE, str(error))


def _conditions(status: int) -> frozenset[Condition]:
    if status in {codes.PLEASE_WAIT, codes.CARD_INSERTED}:
        return frozenset({Condition.TRANSACTION_RUNNING})
    return frozenset({Condition.CANNOT_TRADE}) if status in codes.CANNOT_TRADE_STATUS_BYTES else frozenset()


def _faults(state: ZvtState) -> frozenset[FaultSign]:
    code = None if state.status is None else codes.status_code(state.status)
    return frozenset() if code is None else frozenset({FaultSign(code, f"05 01: status {state.status:02X}")})


def _readings(state: ZvtState) -> dict[str, Reading]:
    """Only what the status byte vouches for: a ready terminal has its reader and printer ready too."""
    readings: dict[str, Reading] = {}
    if state.software_version is not None:
        readings["sys.firmware_ver"] = state.software_version
    if state.status == codes.READY:
        readings |= {"reader.alive": True, "prn.status": "ok"}
    elif state.status == codes.PRINTER_NOT_READY:
        readings["prn.status"] = "fault"
    elif state.status == 0xE2:
        readings["reader.alive"] = False
    return readings
