"""What was read and is not stored yet, taken in turns, so that one link or tenant that talks without end waits for
itself and not the others for it. Pure; time comes in as an argument.

Each link and each tenant may send so many messages and bytes a second and save up ``BURST_S`` of that. Those within
their quotas go first, one message a link in turn; what is beyond goes behind all of them, as far as there is room. Of a
link beyond its quota ``MAX_WAITING`` messages wait, more are dropped: their sender has them still and sends them again.

Invariants: messages of a link keep their order; before a message of a link within its quotas goes at most one of each
other link; nothing of such a link is dropped. ``count`` and ``size_bytes`` are bounded as far as the caller stops
reading when it ``is_full``.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

BURST_S = 10.0
# Eight batches of a proper agent can be on their way, and its hello, capabilities and presence.
MAX_WAITING = 64
MAX_COUNT = 4000
MAX_BYTES = 16 * 1024 * 1024
_PRUNE_FROM = 10_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Quota:
    """A second; 0: no limit."""

    messages_per_s: float = 0.0
    bytes_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Quotas:
    link: Quota = Quota()
    tenant: Quota = Quota()


NO_QUOTAS = Quotas()


class _Allowance:
    """Tokens of one link or tenant, full at first."""

    __slots__ = ("_at_s", "_bytes", "_messages", "_quota")

    def __init__(self, quota: Quota, now_s: float) -> None:
        self._quota = quota
        self._messages = quota.messages_per_s * BURST_S
        self._bytes = quota.bytes_per_s * BURST_S
        self._at_s = now_s

    def refill(self, now_s: float) -> None:
        elapsed_s, self._at_s = max(0.0, now_s - self._at_s), now_s
        quota = self._quota
        self._messages = min(quota.messages_per_s * BURST_S, self._messages + elapsed_s * quota.messages_per_s)
        self._bytes = min(quota.bytes_per_s * BURST_S, self._bytes + elapsed_s * quota.bytes_per_s)

    @property
    def is_left(self) -> bool:
        quota = self._quota
        return (not quota.messages_per_s or self._messages >= 1) and (not quota.bytes_per_s or self._bytes > 0)

    def charge(self, messages: int, size_bytes: int) -> None:
        """No debts: whoever was beyond the quota is within it again as soon as there is something left."""
        self._messages = max(0.0, self._messages - messages)
        self._bytes = max(0.0, self._bytes - size_bytes)

    def is_as_new(self, now_s: float) -> bool:
        return now_s - self._at_s > BURST_S


@dataclass(slots=True)
class _Line(Generic[T]):
    """What waits of one link."""

    link: str
    tenant: str
    allowance: _Allowance
    waiting: deque[tuple[T, int]] = field(default_factory=deque)


class FairQueue(Generic[T]):
    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._lines: dict[str, _Line[T]] = {}
        self._turns: deque[_Line[T]] = deque()  # those of whom something waits, whose turn is next first
        self._tenants: dict[str, _Allowance] = {}
        self._dropped: Counter[str] = Counter()
        self._pruned_s = float("-inf")
        self.count = 0
        self.size_bytes = 0

    @property
    def is_full(self) -> bool:
        return self.count >= MAX_COUNT or self.size_bytes >= MAX_BYTES

    def offer(self, item: T, link: str, tenant: str, size_bytes: int, now_s: float) -> bool:
        """Whether it was taken in."""
        line = self._lines.get(link)
        if line is None:
            # Asked more often it finds little, and costs each new line a look at all others.
            if len(self._lines) > _PRUNE_FROM and now_s - self._pruned_s > BURST_S:
                self._prune(now_s)
            line = self._lines[link] = _Line(link, tenant, _Allowance(self._quotas.link, now_s))
        if len(line.waiting) >= MAX_WAITING and not self._may(line, now_s):
            self._dropped[link] += 1
            return False
        if not line.waiting:
            self._turns.append(line)
        line.tenant = tenant
        line.waiting.append((item, size_bytes))
        self.count += 1
        self.size_bytes += size_bytes
        return True

    def take(self, most: int, most_bytes: int, now_s: float) -> list[T]:
        """At least one, if any waits; no more than ``most``, and no further one once ``most_bytes`` are reached."""
        if self.count <= most and self.size_bytes <= most_bytes:
            return self._take_all(now_s)
        taken: list[T] = []
        until_bytes = self.size_bytes - most_bytes
        beyond: deque[_Line[T]] = deque()

        def has_room() -> bool:
            return len(taken) < most and (not taken or self.size_bytes > until_bytes)

        while self._turns and has_room():
            line = self._turns.popleft()
            if not self._may(line, now_s):
                beyond.append(line)
                continue
            self._take_head(line, taken, self._turns, now_s)
        while beyond and has_room():
            self._take_head(beyond.popleft(), taken, beyond, now_s)
        self._turns.extend(beyond)
        return taken

    def take_dropped(self) -> dict[str, int]:
        """How many of which link were dropped since it was asked last."""
        dropped, self._dropped = self._dropped, Counter()
        return dropped

    def clear(self) -> int:
        """How many are given back to their senders."""
        given_back = self.count
        for line in self._turns:
            line.waiting.clear()
        self._turns.clear()
        self.count = self.size_bytes = 0
        return given_back

    def _take_all(self, now_s: float) -> list[T]:
        """When all go together it does not matter who is first."""
        taken: list[T] = []
        for line in self._turns:
            taken += [item for item, _ in line.waiting]
            self._charge(line, len(line.waiting), sum([size for _, size in line.waiting]), now_s)
            line.waiting.clear()
        self._turns.clear()
        self.count = self.size_bytes = 0
        return taken

    def _may(self, line: _Line[T], now_s: float) -> bool:
        line.allowance.refill(now_s)
        tenant = self._tenant(line.tenant, now_s)
        tenant.refill(now_s)
        return line.allowance.is_left and tenant.is_left

    def _take_head(self, line: _Line[T], taken: list[T], turns: deque[_Line[T]], now_s: float) -> None:
        item, size_bytes = line.waiting.popleft()
        taken.append(item)
        self.count -= 1
        self.size_bytes -= size_bytes
        self._charge(line, 1, size_bytes, now_s)
        if line.waiting:
            turns.append(line)

    def _charge(self, line: _Line[T], messages: int, size_bytes: int, now_s: float) -> None:
        for allowance in (line.allowance, self._tenant(line.tenant, now_s)):
            allowance.refill(now_s)
            allowance.charge(messages, size_bytes)

    def _tenant(self, tenant: str, now_s: float) -> _Allowance:
        allowance = self._tenants.get(tenant)
        if allowance is None:
            allowance = self._tenants[tenant] = _Allowance(self._quotas.tenant, now_s)
        return allowance

    def _prune(self, now_s: float) -> None:
        """Lines that say no more than a new one would, which takes them up to ``BURST_S``. Links are those of
        certificates, so others cannot be made up.
        """
        self._pruned_s = now_s
        kept = {link: line for link, line in self._lines.items() if line.waiting or not line.allowance.is_as_new(now_s)}
        self._lines = kept
