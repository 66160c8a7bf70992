"""A simulated terminal's service at the end of a port in the same thread: no socket, no waiting.

For tests of what is done with the answers, and for recorders that need no processes. While the terminal is down the
port fails as a closed socket does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.drivers.terminal import wire
from simulators.terminal_service import reply_to
from simulators.terminal_software import PowerCut

if TYPE_CHECKING:
    from simulators.terminal import SimulatedTerminal


class TerminalPort:
    """A `BytePort`."""

    def __init__(self, terminal: SimulatedTerminal) -> None:
        self._terminal = terminal
        self._reader = wire.request_reader()
        self._waiting = bytearray()

    def open(self) -> TerminalPort:
        self._fail_if_down()
        self.close()
        return self

    def read(self, max_bytes: int, timeout_s: float) -> bytes:  # noqa: ARG002 - every answer is there at once
        self._fail_if_down()
        data = bytes(self._waiting[:max_bytes])
        del self._waiting[:max_bytes]
        return data

    def write(self, data: bytes) -> None:
        self._fail_if_down()
        for event in self._reader.feed(data):
            try:
                self._waiting += reply_to(self._terminal, event)
            except PowerCut:
                self._fail_if_down()

    def close(self) -> None:
        self._waiting.clear()
        self._reader.reset()

    def _fail_if_down(self) -> None:
        if self._terminal.is_down():
            raise ConnectionRefusedError(111, "the terminal is down")
