"""A peripheral at the end of a port in the same thread, on a clock that moves only while somebody waits.

For tests of drivers and for fast scenarios: minutes of time-outs pass in no time and every run is the same. Real ptys
and sockets are `serial_line`'s.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulators.peripherals.peripheral import Channel

TICK_S = 0.01


class WaitClock:
    """Seconds that pass by waiting only."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class DirectPort:
    """A `BytePort`. `is_cut`: no byte passes. `is_gone`: the port itself fails, as an unplugged adapter does."""

    def __init__(self, channel: Channel, clock: WaitClock, *, seed: int = 0) -> None:
        self.is_cut = False
        self.is_gone = False
        self.damaged_share = 0.0
        self.opened_count = 0
        self.sent = bytearray()
        self._channel = channel
        self._clock = clock
        self._random = random.Random(seed)
        self._waiting = bytearray()

    def open(self) -> DirectPort:
        self._fail_if_gone()
        self.opened_count += 1
        return self

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        self._fail_if_gone()
        deadline_s = self._clock.now_s + timeout_s
        while True:
            self._waiting += self._carry(self._channel.tick(self._clock.now_s))
            if self._waiting or self._clock.now_s >= deadline_s:
                break
            self._clock.now_s += min(TICK_S, deadline_s - self._clock.now_s)
        data = bytes(self._waiting[:max_bytes])
        del self._waiting[:max_bytes]
        return data

    def write(self, data: bytes) -> None:
        self._fail_if_gone()
        self.sent += data
        arrived = self._carry(data)
        if arrived:
            self._waiting += self._carry(self._channel.receive(arrived, self._clock.now_s))

    def close(self) -> None:
        self._waiting.clear()

    def _carry(self, data: bytes) -> bytes:
        if self.is_cut:
            return b""
        if not self.damaged_share:
            return data
        return bytes(self._random.randrange(256) if self._random.random() < self.damaged_share else b for b in data)

    def _fail_if_gone(self) -> None:
        if self.is_gone:
            raise OSError(5, "Input/output error")
