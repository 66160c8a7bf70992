"""What every device on a line has in common: it owns the line, shows its statistics, closes it."""

from __future__ import annotations

import time
from collections.abc import Callable

from device_agent.drivers.line import Line
from device_agent.drivers.port import PortOpener
from device_agent.drivers.results import LineStatistics, RecentExchanges

# Firmware changes by an update, after which a device is silent for a while or its line is opened anew.
FIRMWARE_EVERY_S = 6 * 3600.0


class AttachedDevice:
    def __init__(self, open_port: PortOpener, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._line = Line(open_port, monotonic=monotonic)
        self._firmware: str | None = None
        self._firmware_due_s = float("-inf")
        self._firmware_reopened = 0

    @property
    def open_port(self) -> PortOpener:
        return self._line.open_port

    @property
    def line_statistics(self) -> LineStatistics:
        return self._line.statistics

    @property
    def recent_exchanges(self) -> RecentExchanges:
        return self._line.recent

    def _is_firmware_due(self) -> bool:
        """Once on each connection and every few hours: a look asks for what changes."""
        reopened, now_s = self._line.statistics.reopened, self._line.now_s()
        if reopened == self._firmware_reopened and now_s < self._firmware_due_s:
            return False
        self._firmware_reopened, self._firmware_due_s = reopened, now_s + FIRMWARE_EVERY_S
        return True

    def _forget_firmware(self) -> None:
        """Who answers after a silence may be another device."""
        self._firmware, self._firmware_due_s = None, float("-inf")

    def close(self) -> None:
        self._line.close()
