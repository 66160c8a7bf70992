"""What every device on a line has in common: it owns the line, shows its statistics, closes it."""

from __future__ import annotations

import time
from collections.abc import Callable

from device_agent.drivers.line import Line
from device_agent.drivers.port import PortOpener
from device_agent.drivers.results import LineStatistics


class AttachedDevice:
    def __init__(self, open_port: PortOpener, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._line = Line(open_port, monotonic=monotonic)

    @property
    def open_port(self) -> PortOpener:
        return self._line.open_port

    @property
    def line_statistics(self) -> LineStatistics:
        return self._line.statistics

    def close(self) -> None:
        self._line.close()
