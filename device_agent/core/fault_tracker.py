"""From signs that come and go to faults that are raised once and cleared once, for one device.

    absent -sign-> PENDING -lasts `visible_after`-> RAISED -sign gone-> cleared (or LEAVING for the hold, when it flaps)

A code becomes a fault when its sign has lasted `visible_after_s` (catalogue). Repeats fold into a count, told at
most once a minute. A fault raised three times within ten minutes flaps: its next clearing must last a minute. Codes
that happen (a line of a log) rather than hold are cleared after five quiet minutes.
Invariants: of each code at most one fault is open; every clearing names the raising it ends; while the device is silent
nothing is cleared, since nothing is known. At most `MAX_OPEN` codes are followed; more are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import msgspec

from device_agent.core.instant import NS_PER_S, Instant, earliest
from device_agent.drivers.results import FaultSign
from protocol.flapping import FLAP_HOLD_S, FLAP_WINDOW_S, FLAPS
from protocol.records import FaultCleared, FaultRaised, Severity

MAX_OPEN: Final = 128
RETELL_S: Final = 60.0
QUIET_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class CodeRule:
    """What the catalogue says about a code, as far as following it goes."""

    severity: Severity = Severity.MINOR
    visible_after_s: float = 0.0


class OpenFault(msgspec.Struct, frozen=True):
    """What must survive a restart, so that the clearing names the raising it ends."""

    raised_ms: int
    count: int = 1


class _State(Enum):
    PENDING = "pending"
    RAISED = "raised"
    LEAVING = "leaving"


@dataclass(slots=True)
class _Followed:
    state: _State
    since_ns: int
    evidence: str
    holds: bool
    raised_ms: int = 0
    count: int = 1
    told_count: int = 1
    told_ns: int = 0
    last_seen_ns: int = 0


@dataclass(slots=True)
class FaultTracker:
    rule: Callable[[str], CodeRule]
    overflow: int = 0
    _codes: dict[str, _Followed] = field(default_factory=dict)
    _raised_at_ns: dict[str, list[int]] = field(default_factory=dict)

    def restore(self, open_faults: Mapping[str, OpenFault], now: Instant) -> None:
        for code, fault in list(open_faults.items())[:MAX_OPEN]:
            self._codes[code] = _Followed(
                _State.RAISED,
                now.monotonic_ns,
                "",
                holds=True,
                raised_ms=fault.raised_ms,
                count=fault.count,
                told_count=fault.count,
                told_ns=now.monotonic_ns,
                last_seen_ns=now.monotonic_ns,
            )

    def open_faults(self) -> dict[str, OpenFault]:
        raised = {code: one for code, one in self._codes.items() if one.state is not _State.PENDING}
        return {code: OpenFault(one.raised_ms, one.count) for code, one in raised.items()}

    def on_signs(
        self, signs: Iterable[FaultSign], now: Instant, *, untold: frozenset[str] = frozenset()
    ) -> list[FaultRaised | FaultCleared]:
        """All that holds at this look at a device that answers, but for what it cannot tell: that stays as it was."""
        present = {sign.code: sign for sign in signs}
        out = [told for sign in present.values() for told in self._seen(sign, now, holds=True)]
        gone = [code for code, one in self._codes.items() if one.holds and code not in present and code not in untold]
        return out + [told for code in gone for told in self._gone(code, now)]

    def on_silent(self, signs: Iterable[FaultSign], now: Instant) -> list[FaultRaised | FaultCleared]:
        """The device does not answer: only what the line itself shows is known."""
        return [told for sign in signs for told in self._seen(sign, now, holds=True)]

    def on_noticed(self, signs: Iterable[FaultSign], now: Instant) -> list[FaultRaised | FaultCleared]:
        """Codes that happened just now."""
        return [told for sign in signs for told in self._seen(sign, now, holds=False)]

    def on_ended(self, codes: Iterable[str], now: Instant) -> list[FaultRaised | FaultCleared]:
        """Codes that happened and were just shown to be over. What every look shows is ended by a look alone."""
        happened = [code for code in codes if code in self._codes and not self._codes[code].holds]
        return [told for code in happened for told in self._gone(code, now)]

    def on_tick(self, now: Instant) -> list[FaultRaised | FaultCleared]:
        out: list[FaultRaised | FaultCleared] = []
        for code, one in list(self._codes.items()):
            due_ns = self._due_ns(code, one)
            if due_ns is None or now.monotonic_ns < due_ns:
                continue
            match one.state:
                case _State.PENDING if one.holds:
                    out.append(self._raise(code, one, now))
                case _State.LEAVING:
                    out.append(self._clear(code, one, now))
                case _ if one.count > one.told_count:
                    out.append(self._tell(code, one, now))
                case _:
                    out.append(self._clear(code, one, now))
        return out

    def next_due_ns(self) -> int | None:
        return earliest(*(self._due_ns(code, one) for code, one in self._codes.items()))

    def _due_ns(self, code: str, one: _Followed) -> int | None:
        match one.state:
            case _State.PENDING:
                return one.since_ns + int(self.rule(code).visible_after_s * NS_PER_S)
            case _State.LEAVING:
                return one.since_ns + int(FLAP_HOLD_S * NS_PER_S)
            case _State.RAISED:
                retell_ns = one.told_ns + int(RETELL_S * NS_PER_S) if one.count > one.told_count else None
                quiet_ns = None if one.holds else one.last_seen_ns + int(QUIET_S * NS_PER_S)
                return earliest(retell_ns, quiet_ns)

    def _seen(self, sign: FaultSign, now: Instant, *, holds: bool) -> list[FaultRaised | FaultCleared]:
        one = self._codes.get(sign.code)
        if one is None:
            if len(self._codes) >= MAX_OPEN:
                self.overflow += 1
                return []
            one = _Followed(_State.PENDING, now.monotonic_ns, sign.evidence, holds, last_seen_ns=now.monotonic_ns)
            self._codes[sign.code] = one
            # What happens once has no duration to wait for.
            if not holds or self.rule(sign.code).visible_after_s <= 0:
                return [self._raise(sign.code, one, now)]
            return []
        one.last_seen_ns = now.monotonic_ns
        one.evidence = sign.evidence
        # A log line may tell first what every look at the device shows: from then on the looks decide its end.
        one.holds = one.holds or holds
        match one.state:
            case _State.PENDING:
                return self._raised_if_due(sign.code, one, now)
            case _State.LEAVING:
                one.state = _State.RAISED
                one.count += 1
            case _State.RAISED if not holds:
                one.count += 1
            case _State.RAISED:
                pass
        return []

    def _raised_if_due(self, code: str, one: _Followed, now: Instant) -> list[FaultRaised | FaultCleared]:
        due_ns = self._due_ns(code, one)
        return [self._raise(code, one, now)] if due_ns is not None and now.monotonic_ns >= due_ns else []

    def _gone(self, code: str, now: Instant) -> list[FaultRaised | FaultCleared]:
        one = self._codes[code]
        match one.state:
            case _State.PENDING:
                del self._codes[code]
            case _State.RAISED if self._flaps(code, now):
                one.state, one.since_ns = _State.LEAVING, now.monotonic_ns
            case _State.RAISED:
                return [self._clear(code, one, now)]
            case _State.LEAVING:
                pass
        return []

    def _flaps(self, code: str, now: Instant) -> bool:
        since_ns = now.monotonic_ns - int(FLAP_WINDOW_S * NS_PER_S)
        recent = [at_ns for at_ns in self._raised_at_ns.get(code, []) if at_ns >= since_ns]
        return len(recent) >= FLAPS

    def _raise(self, code: str, one: _Followed, now: Instant) -> FaultRaised:
        one.state = _State.RAISED
        one.raised_ms = max(now.wall_ms - (now.monotonic_ns - one.since_ns) // 1_000_000, 0)
        if len(self._raised_at_ns) >= 2 * MAX_OPEN:
            self._raised_at_ns.pop(next(iter(self._raised_at_ns)))
        self._raised_at_ns[code] = [*self._raised_at_ns.get(code, []), now.monotonic_ns][-FLAPS:]
        return self._tell(code, one, now)

    def _tell(self, code: str, one: _Followed, now: Instant) -> FaultRaised:
        one.told_ns, one.told_count = now.monotonic_ns, one.count
        return FaultRaised(
            code=code,
            severity=self.rule(code).severity,
            first_seen_ms=one.raised_ms,
            last_seen_ms=max(now.wall_ms, one.raised_ms),
            count=one.count,
            evidence=one.evidence,
        )

    def _clear(self, code: str, one: _Followed, now: Instant) -> FaultCleared:
        del self._codes[code]
        return FaultCleared(code=code, raised_ms=one.raised_ms, cleared_ms=now.wall_ms, count=one.count)
