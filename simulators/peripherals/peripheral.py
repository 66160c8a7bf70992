"""What every simulated peripheral offers: channels that take and give bytes, faults by name, a snapshot of its state.

A channel does no I/O and reads no clock: bytes and the time come in, bytes go out. `snapshot` holds everything a check
must not change (paper, money, keys, radio, settings), but no traffic counters. Every public method may be called from
any thread.
"""

from __future__ import annotations

import threading
from enum import Enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from simulators.errors import FaultUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping

EffectT = TypeVar("EffectT")


class ChannelKind(Enum):
    SERIAL = "serial"
    TCP = "tcp"


class Channel(Protocol):
    def receive(self, data: bytes, now_s: float) -> bytes: ...

    def tick(self, now_s: float) -> bytes:
        """What the device says by itself by now: deferred answers, repeats, unasked results."""


class Peripheral(Protocol):
    @property
    def family(self) -> str: ...

    def open_channel(self, kind: ChannelKind) -> Channel: ...

    def snapshot(self) -> Mapping[str, object]: ...

    def apply_fault(self, name: str) -> None: ...

    def clear_fault(self, name: str | None = None) -> None: ...

    def faults(self) -> frozenset[str]: ...

    def known_faults(self) -> frozenset[str]: ...


class FaultSwitches(Generic[EffectT]):
    """Which causes hold now, in the order they came, with their effects."""

    def __init__(self, table: Mapping[str, EffectT], lock: threading.RLock) -> None:
        self._table = table
        self._lock = lock
        self._active: dict[str, EffectT] = {}

    def apply(self, name: str) -> EffectT:
        if name not in self._table:
            raise FaultUnknown(name, self.known())
        with self._lock:
            self._active[name] = self._table[name]
        return self._table[name]

    def clear(self, name: str | None) -> None:
        if name is not None and name not in self._table:
            raise FaultUnknown(name, self.known())
        with self._lock:
            for each in [name] if name is not None else list(self._active):
                self._active.pop(each, None)

    def effects(self) -> tuple[EffectT, ...]:
        with self._lock:
            return tuple(self._active.values())

    def names(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._active)

    def items(self) -> tuple[tuple[str, EffectT], ...]:
        with self._lock:
            return tuple(self._active.items())

    def known(self) -> frozenset[str]:
        return frozenset(self._table)
