"""Token buckets: each caller may make a burst, and then so many requests a second.

Invariant: a caller never gets more than ``burst + rate_per_s * seconds``. At most `MAX_CALLERS` buckets are kept; the
one unused for longest goes first, and would be full again anyway.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

MAX_CALLERS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class TokenBuckets:
    def __init__(self, *, rate_per_s: float, burst: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self.refused = 0

    def wait_s(self, caller: str, now_s: float) -> float:
        """What `take` would answer; nothing is taken."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            return 0.0
        tokens = bucket.tokens + max(0.0, now_s - bucket.at_s) * self._rate_per_s
        return 0.0 if tokens >= 1 else (1 - tokens) / self._rate_per_s

    def take(self, caller: str, now_s: float) -> float:
        """0 when the request may pass, else after how many seconds the next one will. ``now_s``: monotonic."""
        bucket = self._buckets.setdefault(caller, _Bucket(float(self._burst), now_s))
        self._buckets.move_to_end(caller)
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        elapsed_s = max(0.0, now_s - bucket.at_s)
        bucket.tokens = min(float(self._burst), bucket.tokens + elapsed_s * self._rate_per_s)
        bucket.at_s = now_s
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        self.refused += 1
        return (1 - bucket.tokens) / self._rate_per_s

    def give_back(self, caller: str) -> None:
        """For what turned out to cost nothing."""
        bucket = self._buckets.get(caller)
        if bucket is not None:
            bucket.tokens = min(float(self._burst), bucket.tokens + 1)
