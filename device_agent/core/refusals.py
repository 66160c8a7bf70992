"""Refused commands as security events: the first of a kind at once, then one a minute with a count.

Invariant: whatever a broken broker sends, at most one event a code and `TELL_EVERY_S` reaches the spool.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from device_agent.core.instant import Instant, earliest
from protocol.commands import Command
from protocol.records import SecurityEvent

TELL_EVERY_S: Final = 60.0


@dataclass(slots=True)
class Refusals:
    """Codes are a closed set, so the tables stay small."""

    total: int = 0
    _waiting: dict[str, tuple[int, str]] = field(default_factory=dict)
    _next_ns: dict[str, int] = field(default_factory=dict)

    def add(self, code: str, detail: str, now: Instant) -> list[SecurityEvent]:
        self.total += 1
        count, _ = self._waiting.get(code, (0, ""))
        self._waiting[code] = (count + 1, detail)
        return self.on_tick(now)

    def on_tick(self, now: Instant) -> list[SecurityEvent]:
        due = [code for code in self._waiting if self._next_ns.get(code, 0) <= now.monotonic_ns]
        out = []
        for code in due:
            count, detail = self._waiting.pop(code)
            self._next_ns[code] = now.in_s(TELL_EVERY_S)
            out.append(SecurityEvent(code, detail, count))
        return out

    def next_due_ns(self) -> int | None:
        return earliest(*(self._next_ns[code] for code in self._waiting))


def glass_broken(command: Command) -> SecurityEvent:
    """Loud on purpose: no approver stands behind it."""
    words = f"{command.action} on {command.audience}, asked for by {command.requester or 'nobody named'}"
    return SecurityEvent("break_glass.used", f"{words}, execution {command.execution}")
