"""When to try the broker again: full jitter, spread as wide as the fleet is large.

First try uniform in 0 to 5 s when this terminal's own link was down (its loss is nobody else's), else in 0 to the first
spread that the server asks for, or twice `base`; later tries uniform in 0 to `base` doubling up to `cap`. The count of
failures is forgotten only after 60 s of a healthy session, so a broker that accepts and drops is not hammered. The
jitter comes in as a number in [0, 1).

Invariant: a delay is never above `cap_s`, or for a first try above the first spread when that is wider: a fleet larger
than the broker takes within the cap must be spread over longer than the cap.
"""

from __future__ import annotations

from dataclasses import dataclass

from device_agent.core.instant import NS_PER_S

OWN_LINK_FIRST_TRY_S = 5.0
HEALTHY_AFTER_S = 60.0
DEFAULT_BASE_S = 1.0
DEFAULT_CAP_S = 900.0
# Twice the largest useful exponent; keeps 2**n a small number.
_MAX_DOUBLINGS = 20


@dataclass(slots=True)
class Backoff:
    base_s: float = DEFAULT_BASE_S
    cap_s: float = DEFAULT_CAP_S
    first_s: float | None = None
    failures: int = 0
    _healthy_since_ns: int | None = None

    def set_pace(self, *, base_s: float, cap_s: float, first_s: float | None = None) -> None:
        # Zero would make every terminal of the fleet come at once.
        self.base_s = max(base_s, 0.1)
        self.cap_s = max(cap_s, self.base_s)
        self.first_s = None if first_s is None else max(first_s, self.base_s)

    def on_established(self, now_ns: int) -> None:
        self._healthy_since_ns = now_ns

    def on_lost(self, now_ns: int, *, own_link_down: bool, jitter: float) -> float:
        """Seconds to wait before the next try."""
        since, self._healthy_since_ns = self._healthy_since_ns, None
        if since is not None and now_ns - since >= HEALTHY_AFTER_S * NS_PER_S:
            self.failures = 0
        self.failures += 1
        return jitter * self._spread_s(own_link_down=own_link_down)

    def _spread_s(self, *, own_link_down: bool) -> float:
        if self.failures > 1:
            return min(self.base_s * float(2 ** min(self.failures - 1, _MAX_DOUBLINGS)), self.cap_s)
        if own_link_down:
            return min(OWN_LINK_FIRST_TRY_S, self.cap_s)
        return min(2 * self.base_s, self.cap_s) if self.first_s is None else self.first_s
