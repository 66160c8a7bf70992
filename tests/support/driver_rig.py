"""A driver and the simulated device it talks to, on one clock that moves only by waiting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    """Holds back what the device says, as a slow or busy one does."""

    def __init__(self, inner: Channel, *, delay_s: float, late_answers: int = 1_000_000) -> None:
        self._inner = inner
        self._delay_s = delay_s
        self._late_answers = late_answers
        self._held: list[tuple[float, bytes]] = []

    def receive(self, data: bytes, now_s: float) -> bytes:
        return self._hold(self._inner.receive(data, now_s), now_s)

    def tick(self, now_s: float) -> bytes:
        due = b"".join(data for at_s, data in self._held if at_s <= now_s)
        self._held = [each for each in self._held if each[0] > now_s]
        return due + self._hold(self._inner.tick(now_s), now_s)

    def _hold(self, data: bytes, now_s: float) -> bytes:
        if not data or not self._late_answers:
            return data
        self._late_answers -= 1
        self._held.append((now_s + self._delay_s, data))
        return b""
