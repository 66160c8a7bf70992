"""One fault that a log line and a look at the device both tell: it is open once, and ends when the looks say so."""

from __future__ import annotations

from datetime import UTC, datetime

from device_agent.core.fault_tracker import CodeRule, FaultTracker
from device_agent.core.instant import NS_PER_S, Instant
from device_agent.drivers.results import FaultSign
from protocol.records import FaultCleared, FaultRaised

SIGN = FaultSign("term.HOST_TIMEOUT", "no answer")


def at(seconds: float) -> Instant:
    return Instant(int(seconds * NS_PER_S), datetime.fromtimestamp(1_795_000_000 + seconds, UTC))


def test_a_fault_that_the_log_told_first_ends_with_the_look_that_no_longer_shows_it() -> None:
    tracker = FaultTracker(lambda _: CodeRule())
    (raised,) = tracker.on_noticed([SIGN], at(0))
    assert isinstance(raised, FaultRaised)
    assert tracker.on_signs([SIGN], at(1)) == []
    (cleared,) = tracker.on_signs([], at(2))
    assert isinstance(cleared, FaultCleared)
    assert cleared.raised_ms == raised.first_seen_ms


def test_what_the_log_shows_to_be_over_is_over_unless_looks_show_it() -> None:
    tracker = FaultTracker(lambda _: CodeRule())
    tracker.on_noticed([SIGN], at(0))
    (cleared,) = tracker.on_ended([SIGN.code, "term.NET_DNS"], at(1))
    assert isinstance(cleared, FaultCleared)
    tracker.on_signs([SIGN], at(2))
    assert tracker.on_ended([SIGN.code], at(3)) == []


def test_a_look_that_cannot_tell_leaves_the_fault_as_it_was_across_a_restart_too() -> None:
    tracker = FaultTracker(lambda _: CodeRule())
    (raised,) = tracker.on_signs([SIGN], at(0))
    again = FaultTracker(lambda _: CodeRule())
    again.restore(tracker.open_faults(), at(1))
    assert again.on_signs([], at(2), untold=frozenset({SIGN.code})) == []
    (cleared,) = again.on_signs([], at(3))
    assert isinstance(raised, FaultRaised)
    assert isinstance(cleared, FaultCleared)
    assert cleared.raised_ms == raised.first_seen_ms


def test_a_look_that_never_showed_it_does_not_end_what_the_log_told() -> None:
    tracker = FaultTracker(lambda _: CodeRule())
    tracker.on_noticed([SIGN], at(0))
    assert tracker.on_signs([], at(1)) == []
