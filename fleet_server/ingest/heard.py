"""Which devices need to be written down as heard again: not at every message.

Invariant: bounded; `due` and `new_in_hour` change nothing, only `note` does, after the commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

# Presence is judged in tens of seconds; this is fine enough and bounds the writing.
TOUCH_EVERY_S = 2.0
MAX_REMEMBERED = 100_000


class Heard:
    def __init__(self) -> None:
        self._touched_s: dict[str, float] = {}
        self._hour: datetime | None = None
        self._in_hour: set[str] = set()

    def due(self, device_ids: Iterable[str], now_s: float) -> list[str]:
        long_ago = now_s - TOUCH_EVERY_S
        return [id_ for id_ in device_ids if self._touched_s.get(id_, long_ago) <= long_ago]

    def new_in_hour(self, device_ids: Iterable[str], hour: datetime) -> list[str]:
        return list(device_ids) if hour != self._hour else [id_ for id_ in device_ids if id_ not in self._in_hour]

    def note(self, device_ids: Iterable[str], hour: datetime, now_s: float) -> None:
        if len(self._touched_s) > MAX_REMEMBERED:
            self._touched_s.clear()
            self._in_hour.clear()
        if hour != self._hour:
            self._hour = hour
            self._in_hour.clear()
        for id_ in device_ids:
            self._touched_s[id_] = now_s
            self._in_hour.add(id_)
