"""How far a zone's local time is ahead of UTC at a moment: by its name in the system's list, or a fixed offset."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from device_agent.errors import ConfigurationInvalid

_OFFSET = re.compile(r"([+-])([01][0-9]):([0-5][0-9])")


def offset_of(name: str) -> Callable[[int], int]:
    """From a Unix moment in milliseconds to seconds. Raises ConfigurationInvalid for a name that nobody knows."""
    fixed = _OFFSET.fullmatch(name)
    if fixed is not None:
        seconds = int(fixed[2]) * 3600 + int(fixed[3]) * 60
        ahead_s = -seconds if fixed[1] == "-" else seconds
        return lambda _at_ms: ahead_s
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationInvalid(f"time_zone: expected a zone of this system or an offset, came {name!r}") from error

    def offset_s(at_ms: int) -> int:
        ahead = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).utcoffset()
        return 0 if ahead is None else int(ahead.total_seconds())

    return offset_s
