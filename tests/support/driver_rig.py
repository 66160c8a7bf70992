"""A driver and the simulated device it talks to, on one clock that moves only by waiting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulators.direct_port import DirectPort, WaitClock
    from simulators.peripherals.peripheral import Channel


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


class LateChannel:
    """Holds back each answer of the device for the next of the delays, as a slow or busy one does."""

    def __init__(self, inner: Channel, delays_s: Iterable[float]) -> None:
        self._inner = inner
        self._delays_s = iter(delays_s)
        self._held: list[tuple[float, bytes]] = []

    def receive(self, data: bytes, now_s: float) -> bytes:
        return self._hold(self._inner.receive(data, now_s), now_s)

    def tick(self, now_s: float) -> bytes:
        due = b"".join(data for at_s, data in self._held if at_s <= now_s)
        self._held = [each for each in self._held if each[0] > now_s]
        return due + self._hold(self._inner.tick(now_s), now_s)

    def _hold(self, data: bytes, now_s: float) -> bytes:
        delay_s = next(self._delays_s, 0.0) if data else 0.0
        if not delay_s:
            return data
        self._held.append((now_s + delay_s, data))
        return b""
