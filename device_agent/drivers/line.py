"""A line as the drivers use it: opens its port when needed, counts everything, reopens after a loss.

Invariant: the counters only grow, the window of recent exchanges holds at most `WINDOW_EXCHANGES`, and a lost port
never leaks: it is closed before a new one is opened. Framing is left to the wire modules.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from device_agent.drivers.results import LineStatistics, Reading, RecentExchanges
from device_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_agent.drivers.port import BytePort, PortOpener

READ_BYTES = 4096
# Rates are taken over the last exchanges, so that an old disturbance does not colour today's line.
WINDOW_EXCHANGES = 100
# Bounds the draining of a line that never stops talking.
DRAIN_READS = 16


class LineDown(AgentError):
    """The port cannot be opened, read or written now; the next exchange tries again."""

    code = "line_down"


@dataclass(slots=True)
class _Exchange:
    timed_out: bool = False
    damaged: bool = False
    refused: bool = False


class Line:
    def __init__(self, open_port: PortOpener, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._open_port = open_port
        self._monotonic = monotonic
        self._port: BytePort | None = None
        self._statistics = LineStatistics()
        self._recent: deque[_Exchange] = deque(maxlen=WINDOW_EXCHANGES)
        self._was_open = False

    @property
    def open_port(self) -> PortOpener:
        return self._open_port

    @property
    def statistics(self) -> LineStatistics:
        return self._statistics

    @property
    def is_open(self) -> bool:
        return self._port is not None

    def now_s(self) -> float:
        return self._monotonic()

    def begin_exchange(self) -> None:
        self._recent.append(_Exchange())
        self._grow(requests=1)

    def read(self, timeout_s: float) -> bytes:
        port = self._opened()
        try:
            data = port.read(READ_BYTES, max(timeout_s, 0.0))
        except OSError as error:
            raise self._lost(error) from error
        self._grow(received_bytes=len(data))
        return data

    def write(self, data: bytes) -> None:
        port = self._opened()
        try:
            port.write(data)
        except OSError as error:
            raise self._lost(error) from error
        self._grow(sent_bytes=len(data))

    def drain(self) -> bytes:
        """Whatever came unasked since the last exchange, without waiting."""
        parts = []
        for _ in range(DRAIN_READS):
            data = self.read(0.0)
            if not data:
                break
            parts.append(data)
        return b"".join(parts)

    def close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            # A port that fails while it is closed is gone, which is what was wanted.
            with suppress(OSError):
                port.close()

    def count_frames(self, good: int = 0, bad: int = 0, noise_bytes: int = 0) -> None:
        self._grow(frames=good, bad_frames=bad, noise_bytes=noise_bytes)
        if self._recent and (bad or noise_bytes):
            self._recent[-1].damaged = True

    def count_timeout(self) -> None:
        self._grow(timeouts=1)
        if self._recent:
            self._recent[-1].timed_out = True

    def count_nak(self) -> None:
        self._grow(naks=1)
        if self._recent:
            self._recent[-1].refused = True

    @property
    def recent(self) -> RecentExchanges:
        return RecentExchanges(
            WINDOW_EXCHANGES,
            len(self._recent),
            sum(each.damaged for each in self._recent),
            sum(each.timed_out for each in self._recent),
            sum(each.refused for each in self._recent),
        )

    def readings(self) -> Mapping[str, Reading]:
        """Line quality over the recent exchanges, under the catalogue's metric ids; too few to tell is left out."""
        recent = self.recent
        rates = {
            "serial.crc_err_pct": recent.rate(recent.damaged),
            "serial.timeout_pct": recent.rate(recent.timed_out),
            "serial.nak_pct": recent.rate(recent.refused),
        }
        return {name: rate for name, rate in rates.items() if rate is not None}

    def last_exchanges_damaged(self, count: int) -> int:
        """How many of the newest `count` exchanges met damaged bytes."""
        return sum(each.damaged for each in list(self._recent)[-count:])

    def _opened(self) -> BytePort:
        if self._port is None:
            try:
                self._port = self._open_port()
            except OSError as error:
                raise LineDown(f"port does not open: {error.strerror or type(error).__name__}") from error
            if self._was_open:
                self._grow(reopened=1)
            self._was_open = True
        return self._port

    def _lost(self, error: OSError) -> LineDown:
        self.close()
        return LineDown(f"line lost: {error.strerror or type(error).__name__}")

    def _grow(self, **counts: int) -> None:
        self._statistics = replace(
            self._statistics, **{name: getattr(self._statistics, name) + count for name, count in counts.items()}
        )
