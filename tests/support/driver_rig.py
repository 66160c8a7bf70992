"""A driver and the simulated device it talks to, on one clock that moves only by waiting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulators.direct_port import DirectPort, WaitClock


@dataclass(frozen=True)
class Rig:
    device: Any
    peripheral: Any
    port: DirectPort
    clock: WaitClock

    def poll(self) -> Any:
        return self.device.poll(datetime(2026, 3, 1, 8, 0, tzinfo=UTC))

    def codes(self) -> set[str]:
        return {sign.code for sign in self.poll().faults}
