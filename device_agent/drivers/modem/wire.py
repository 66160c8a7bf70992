"""AT dialogue with a modem (3GPP TS 27.007, ITU-T V.250): commands out, replies and unasked results in.

    AT+CSQ<CR>  ->  [echo AT+CSQ<CR>] <CR><LF>+CSQ: 18,99<CR><LF> <CR><LF>OK<CR><LF>

One command at a time. Lines between the command and its final result belong to it, except unasked results (URC), which
are told apart by their prefix and by not being asked for. Echo on or off, numeric or bare errors are all understood.

Invariants: events depend on the byte stream alone, never on its chunks; no input raises; a line holds at most
`MAX_LINE_BYTES` and a reply at most `MAX_REPLY_LINES`, what is more is dropped and counted; `abandon` bounds the wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from device_agent.errors import AgentError

MAX_LINE_BYTES = 512
# A network scan lists some dozen operators on one line; a reply of 64 lines is none we ask for.
MAX_REPLY_LINES = 64
_CR, _LF = 0x0D, 0x0A
_FINAL_ERRORS = frozenset({"ERROR", "NO CARRIER", "NO ANSWER", "NO DIALTONE", "BUSY", "COMMAND NOT SUPPORT"})
_ERROR_PREFIXES = ("+CME ERROR:", "+CMS ERROR:")
# Results that come unasked on the modems we know (27.007, 27.005, vendor start-up messages).
_ALWAYS_UNASKED = ("RING", "RDY", "SMS DONE", "SMS READY", "CALL READY", "PB DONE", "+CMTI:", "+QIND:", "+CGEV:", "^")
_UNASKED_UNLESS_PENDING = ("+CREG:", "+CGREG:", "+CEREG:", "+CPIN:", "+CFUN:", "+QUSIM:", "+CSQN:")


class Final(Enum):
    OK = auto()
    ERROR = auto()


@dataclass(frozen=True, slots=True)
class Reply:
    command: str
    final: Final
    lines: tuple[str, ...]
    cme: int | None = None
    """Number of +CME ERROR, when the modem gives numbers."""
    was_echoed: bool = False

    @property
    def is_ok(self) -> bool:
        return self.final is Final.OK


@dataclass(frozen=True, slots=True)
class Unasked:
    text: str


AtEvent = Reply | Unasked


class CommandNotSendable(AgentError):
    """Raised by the caller's mistake only; a modem cannot cause it."""

    code = "command_not_sendable"


class AtDialogue:
    def __init__(self) -> None:
        self.noise_bytes = 0
        self.dropped_lines = 0
        self._line = bytearray()
        self._overlong = False
        self._pending: str | None = None
        self._collected: list[str] = []
        self._was_echoed = False

    @property
    def is_waiting(self) -> bool:
        return self._pending is not None

    def start(self, command: str) -> bytes:
        """The bytes to send; from here on lines belong to this command."""
        if not command.isascii() or not command.isprintable() or not command.upper().startswith("AT"):
            raise CommandNotSendable("an AT command is printable ASCII that begins with AT, one line")
        if self._pending is not None:
            raise CommandNotSendable("the command before still waits for its final result")
        self._pending = command
        self._collected = []
        self._was_echoed = False
        return command.encode("ascii") + b"\r"

    def abandon(self) -> None:
        """No final result came in time: what is still to come is noise."""
        self._pending = None
        self.noise_bytes += len(self._line)
        self._line.clear()
        self._overlong = False

    def feed(self, chunk: bytes) -> list[AtEvent]:
        events: list[AtEvent] = []
        for byte in chunk:
            if byte in {_CR, _LF}:
                self._end_line(events)
            elif not 0x20 <= byte < 0x7F:
                self.noise_bytes += 1
            elif len(self._line) >= MAX_LINE_BYTES:
                self._overlong = True
                self.noise_bytes += 1
            else:
                self._line.append(byte)
        return events

    def _end_line(self, events: list[AtEvent]) -> None:
        text = self._line.decode("ascii").strip()
        overlong, self._overlong = self._overlong, False
        self._line.clear()
        if overlong:
            self.dropped_lines += 1
        elif text:
            event = self._on_line(text)
            if event is not None:
                events.append(event)

    def _on_line(self, text: str) -> AtEvent | None:
        if self._pending is None or self._is_unasked(text):
            return Unasked(text)
        if text.upper() == self._pending.upper():
            self._was_echoed = True
            return None
        if text == "OK":
            return self._finish(Final.OK)
        if text in _FINAL_ERRORS:
            return self._finish(Final.ERROR)
        if text.startswith(_ERROR_PREFIXES):
            number = text.partition(":")[2].strip()
            is_number = text.startswith("+CME") and number.isdecimal() and len(number) <= 4
            return self._finish(Final.ERROR, cme=int(number) if is_number else None)
        if len(self._collected) >= MAX_REPLY_LINES:
            self.dropped_lines += 1
        else:
            self._collected.append(text)
        return None

    def _is_unasked(self, text: str) -> bool:
        upper = text.upper()
        if upper.startswith(_ALWAYS_UNASKED):
            return True
        if not upper.startswith(_UNASKED_UNLESS_PENDING):
            return False
        prefix = upper.partition(":")[0]
        return prefix not in (self._pending or "").upper()

    def _finish(self, final: Final, *, cme: int | None = None) -> Reply:
        reply = Reply(
            command=self._pending or "",
            final=final,
            lines=tuple(self._collected),
            cme=cme,
            was_echoed=self._was_echoed,
        )
        self._pending = None
        self._collected = []
        return reply
