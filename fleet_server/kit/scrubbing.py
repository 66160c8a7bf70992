"""Takes card data out of large foreign texts in a process of its own, bounded in memory and time.

What strangers send may be made to cost: such a text must not hold up or bring down who received it. A text that the
process did not answer in its bounds is gone: the answer is None, never the text.

Invariants: at most one process for each `BoundedScrubber`; one that did not answer in time is killed before the call
returns; the next text finds a new one. All texts together take at most `share` of the time, and `most_s` at once:
whoever sends many, or stops the process, holds up nobody for longer.
"""

from __future__ import annotations

import atexit
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Final

from fleet_server.kit.scrubbing_child import ANSWER, REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable

_END_WAIT_S: Final = 5.0
_LEAST_S: Final = 1.0  # for a text; in less a busy machine has not even started the process


@dataclass(frozen=True, slots=True)
class Bounds:
    """``bytes_a_second`` of processor time: even the costliest text is scanned faster."""

    memory_bytes: int = 512 * 1024 * 1024
    start_s: int = 2
    bytes_a_second: int = 256 * 1024
    most_s: float = 10.0
    share: float = 0.25

    def processor_s(self, size: int) -> int:
        return self.start_s + size // self.bytes_a_second


@dataclass(frozen=True, slots=True)
class Clean:
    text: bytes
    hits: int


@dataclass(frozen=True, slots=True)
class _Process:
    handle: subprocess.Popen[bytes]
    line: socket.socket

    def end(self) -> None:
        self.line.close()
        self.handle.kill()
        self.handle.wait(_END_WAIT_S)


class BoundedScrubber:
    """Safe in threads. Close it when done; its process ends by itself when its starter is gone."""

    def __init__(self, bounds: Bounds | None = None, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds or Bounds()
        self._clock_s = clock_s
        self._left_s, self._reckoned_at_s = self._bounds.most_s, clock_s()
        self._lock = Lock()
        self._process: _Process | None = None
        self.dropped = 0

    def scrub(self, data: bytes) -> Clean | None:
        """None: not scrubbed in its bounds, and so to be dropped."""
        with self._lock:
            self._reckon(self._bounds.share)
            if self._left_s < _LEAST_S:
                self.dropped += 1
                return None
            try:
                return self._asked(data)
            except OSError:  # also: too late, gone before its answer, no process to be had
                self.dropped += 1
                self._end()
                return None
            finally:
                self._reckon(-1.0)

    def close(self) -> None:
        with self._lock:
            self._end()

    def _reckon(self, rate: float) -> None:
        """What may be spent yet, grown or shrunk by the time since the last reckoning."""
        now_s = self._clock_s()
        self._left_s = min(self._bounds.most_s, self._left_s + rate * (now_s - self._reckoned_at_s))
        self._reckoned_at_s = now_s

    def _asked(self, data: bytes) -> Clean:
        if self._process is None or self._process.handle.poll() is not None:
            self._end()
            self._process = self._started()
        line, deadline_s = self._process.line, time.monotonic() + self._left_s
        line.settimeout(self._left_s)
        line.sendall(REQUEST.pack(len(data), self._bounds.processor_s(len(data))) + data)
        hits, size = ANSWER.unpack(_read(line, ANSWER.size, deadline_s))
        return Clean(_read(line, size, deadline_s), hits)

    def _started(self) -> _Process:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "fleet_server.kit.scrubbing_child", str(self._bounds.memory_bytes)]
        with theirs:
            try:
                handle = subprocess.Popen(
                    command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            except OSError:
                ours.close()
                raise
        return _Process(handle, ours)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()


@cache
def shared() -> BoundedScrubber:
    """The one of this process, ended with it."""
    scrubber = BoundedScrubber()
    atexit.register(scrubber.close)
    return scrubber


def _read(line: socket.socket, size: int, deadline_s: float) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        line.settimeout(max(0.001, deadline_s - time.monotonic()))
        piece = line.recv(min(size - len(parts), 1 << 20))
        if not piece:
            raise ConnectionError("the scrubbing process ended before its answer")
        parts += piece
    return bytes(parts)
