"""What the line itself shows, for every family alike: silence and damage as fault signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.drivers.results import LINE_NOISE_CODE, LINE_SILENT_CODE, FaultSign

if TYPE_CHECKING:
    from device_agent.drivers.line import Line

# One damaged exchange is a spark; three of the last ten are a cable.
DAMAGE_WINDOW = 10
DAMAGE_LIMIT = 3


def silent(reason: str) -> FaultSign:
    return FaultSign(LINE_SILENT_CODE, reason[:200])


def noise_signs(line: Line) -> frozenset[FaultSign]:
    damaged = line.last_exchanges_damaged(DAMAGE_WINDOW)
    if damaged < DAMAGE_LIMIT:
        return frozenset()
    return frozenset({FaultSign(LINE_NOISE_CODE, f"{damaged} of the last {DAMAGE_WINDOW} exchanges damaged")})
