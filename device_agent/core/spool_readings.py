"""What the agent says of its own spool among the readings of the device that it runs on."""

from __future__ import annotations

from typing import Final

from device_agent.core.ports import Store
from protocol.records import Sample

_HOUR_MS: Final = 3_600_000


def of_the_spool(store: Store, trusted_ms: int) -> dict[str, Sample]:
    depth = sum(position.last - position.acked for position in store.positions().values())
    fill = store.fill()
    readings: dict[str, Sample] = {
        "agent.queue_depth": depth,
        "agent.spool_used_pct": round(100 * fill.used_bytes / fill.quota_bytes, 1),
    }
    if not depth:
        readings["agent.spool_oldest_h"] = 0.0
    elif fill.oldest_ms is not None:
        # A clock that was set back since makes no negative age.
        readings["agent.spool_oldest_h"] = round(max(trusted_ms - fill.oldest_ms, 0) / _HOUR_MS, 2)
    return readings
