"""One AT session over a line: a command, its reply, a deadline.

A command without its final result in time is abandoned and the line run dry, so that a late reply is never taken for
the next one's. Vendor commands the modem once refused are not asked again until the session is prepared anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.drivers.modem.wire import AtDialogue, Reply
from device_agent.errors import DeviceNotAnswering

if TYPE_CHECKING:
    from device_agent.drivers.line import Line

COMMAND_S = 2.0
_QUIET_S = 0.1
_MAX_QUIET_READS = 10
# Echo off, numeric errors, area and cell in +CEREG.
_PREPARATION = ("ATE0", "AT+CMEE=1", "AT+CEREG=2")


class AtSession:
    def __init__(self, line: Line) -> None:
        self._line = line
        self._dialogue = AtDialogue()
        self._unknown: set[str] = set()
        self.has_lost_settings = False

    def prepare(self) -> None:
        """Sets this session up; a modem that refuses one of them is read all the same."""
        self._unknown.clear()
        for command in _PREPARATION:
            self.run(command)
        self.has_lost_settings = False

    def run(self, command: str, timeout_s: float = COMMAND_S) -> Reply:
        """Raises DeviceNotAnswering, and LineDown when the port itself is gone."""
        self._line.begin_exchange()
        if not self._line.is_open:
            self._dialogue.abandon()
        self._take(self._line.drain())
        self._line.write(self._dialogue.start(command))
        deadline_s = self._line.now_s() + timeout_s
        try:
            while (left_s := deadline_s - self._line.now_s()) > 0:
                reply = self._take(self._line.read(left_s))
                if reply is not None:
                    return reply
        finally:
            if self._dialogue.is_waiting:
                self._dialogue.abandon()
        self._line.count_timeout()
        self._run_dry()
        raise DeviceNotAnswering(f"{command}: no final result in {timeout_s:g} s")

    def run_if_known(self, command: str) -> tuple[str, ...]:
        """The lines of a vendor command, none when this modem does not have it."""
        if command in self._unknown:
            return ()
        reply = self.run(command)
        if not reply.is_ok and reply.cme in {None, 4}:
            self._unknown.add(command)
        return reply.lines

    def listen(self, seconds: float) -> None:
        """Waits, taking what comes unasked."""
        deadline_s = self._line.now_s() + seconds
        while (left_s := deadline_s - self._line.now_s()) > 0:
            self._take(self._line.read(left_s))

    def _take(self, data: bytes) -> Reply | None:
        noise_before = self._dialogue.noise_bytes
        events = self._dialogue.feed(data)
        found = [event for event in events if isinstance(event, Reply)]
        self._line.count_frames(good=len(events), noise_bytes=self._dialogue.noise_bytes - noise_before)
        for reply in found:
            # A modem that echoes again has restarted or was spoken to by somebody else.
            if reply.was_echoed and reply.command != _PREPARATION[0]:
                self.has_lost_settings = True
        return found[0] if found else None

    def _run_dry(self) -> None:
        for _ in range(_MAX_QUIET_READS):
            data = self._line.read(_QUIET_S)
            if not data:
                return
            self._take(data)
