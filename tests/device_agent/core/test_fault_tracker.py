from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from device_agent.core.fault_tracker import MAX_OPEN, QUIET_S, RETELL_S, CodeRule, FaultTracker
from device_agent.drivers.results import FaultSign
from protocol.flapping import FLAP_HOLD_S
from protocol.records import FaultCleared, FaultRaised
from tests.device_agent.core.rig import Clock

SLOW = "slow.code"


def rule_of(code: str) -> CodeRule:
    return CodeRule(visible_after_s=10.0 if code == SLOW else 0.0)


def sign(code: str = "quick.code", evidence: str = "seen") -> FaultSign:
    return FaultSign(code, evidence)


def test_fault_without_debounce_is_raised_and_cleared_at_once() -> None:
    tracker, clock = FaultTracker(rule_of), Clock(100)
    (raised,) = tracker.on_signs([sign()], clock.now)
    assert isinstance(raised, FaultRaised)
    assert tracker.on_signs([sign()], clock.pass_s(1)) == []
    (cleared,) = tracker.on_signs([], clock.pass_s(1))
    assert isinstance(cleared, FaultCleared)
    assert cleared.raised_ms == raised.first_seen_ms


def test_sign_that_does_not_last_is_no_fault() -> None:
    tracker, clock = FaultTracker(rule_of), Clock()
    assert tracker.on_signs([sign(SLOW)], clock.now) == []
    assert tracker.on_signs([], clock.pass_s(9)) == []
    assert tracker.on_tick(clock.pass_s(100)) == []


def test_sign_that_lasts_becomes_a_fault_from_when_it_was_first_seen() -> None:
    tracker, clock = FaultTracker(rule_of), Clock(100)
    first = clock.now
    tracker.on_signs([sign(SLOW)], first)
    (raised,) = tracker.on_tick(clock.pass_s(10))
    assert isinstance(raised, FaultRaised)
    assert raised.first_seen_ms == first.wall_ms


def test_silent_device_clears_nothing() -> None:
    tracker, clock = FaultTracker(rule_of), Clock()
    tracker.on_signs([sign()], clock.now)
    (silent,) = tracker.on_silent([sign("agent.LINE_SILENT")], clock.pass_s(1))
    assert silent.code == "agent.LINE_SILENT"
    (cleared,) = tracker.on_signs([sign()], clock.pass_s(1))
    assert (type(cleared), cleared.code) == (FaultCleared, "agent.LINE_SILENT")


def test_third_raising_within_ten_minutes_must_be_gone_for_a_minute() -> None:
    tracker, clock = FaultTracker(rule_of), Clock()
    for _ in range(2):
        tracker.on_signs([sign()], clock.pass_s(1))
        assert len(tracker.on_signs([], clock.pass_s(1))) == 1
    tracker.on_signs([sign()], clock.pass_s(1))
    assert tracker.on_signs([], clock.pass_s(1)) == []
    assert tracker.on_signs([sign()], clock.pass_s(10)) == []
    assert tracker.on_signs([], clock.pass_s(1)) == []
    (cleared,) = tracker.on_tick(clock.pass_s(FLAP_HOLD_S))
    assert isinstance(cleared, FaultCleared)
    assert cleared.count == 2


def test_repeats_of_what_happens_fold_into_a_count_told_once_a_minute() -> None:
    tracker, clock = FaultTracker(rule_of), Clock()
    assert len(tracker.on_noticed([sign()], clock.now)) == 1
    for _ in range(20):
        assert tracker.on_noticed([sign()], clock.pass_s(1)) == []
    (told,) = tracker.on_tick(clock.pass_s(RETELL_S))
    assert isinstance(told, FaultRaised)
    assert told.count == 21
    (cleared,) = tracker.on_tick(clock.pass_s(QUIET_S))
    assert isinstance(cleared, FaultCleared)


def test_restart_forgets_no_open_fault() -> None:
    before, clock = FaultTracker(rule_of), Clock(50)
    (raised,) = before.on_signs([sign()], clock.now)
    after = FaultTracker(rule_of)
    after.restore(before.open_faults(), clock.pass_s(5))
    assert after.on_signs([sign()], clock.pass_s(1)) == []
    (cleared,) = after.on_signs([], clock.pass_s(1))
    assert isinstance(raised, FaultRaised)
    assert isinstance(cleared, FaultCleared)
    assert cleared.raised_ms == raised.first_seen_ms


def test_more_codes_than_may_be_open_are_counted() -> None:
    tracker, clock = FaultTracker(rule_of), Clock()
    tracker.on_signs([sign(f"code.{number}") for number in range(MAX_OPEN + 3)], clock.now)
    assert (len(tracker.open_faults()), tracker.overflow) == (MAX_OPEN, 3)


CODES = st.sets(st.sampled_from(["quick.code", "other.code", SLOW]))


class TrackerMachine(RuleBasedStateMachine):
    """What the server believes from records alone is what the tracker holds open."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker, self.clock = FaultTracker(rule_of), Clock(1000)
        self.believed: dict[str, int] = {}

    def hear(self, told: list[FaultRaised | FaultCleared]) -> None:
        for one in told:
            if isinstance(one, FaultRaised):
                assert self.believed.get(one.code, one.first_seen_ms) == one.first_seen_ms
                self.believed[one.code] = one.first_seen_ms
            else:
                assert self.believed.pop(one.code) == one.raised_ms

    @rule(codes=CODES, alive=st.booleans(), seconds=st.sampled_from([0.5, 11.0, 70.0]))
    def polled(self, codes: set[str], alive: bool, seconds: float) -> None:
        now = self.clock.pass_s(seconds)
        follow = self.tracker.on_signs if alive else self.tracker.on_silent
        self.hear(follow([sign(code) for code in sorted(codes)], now))

    @rule(codes=CODES)
    def happens(self, codes: set[str]) -> None:
        self.hear(self.tracker.on_noticed([sign(f"log.{code}") for code in sorted(codes)], self.clock.pass_s(0.1)))

    @rule(seconds=st.sampled_from([1.0, 60.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.hear(self.tracker.on_tick(self.clock.pass_s(seconds)))

    @rule()
    def restarts(self) -> None:
        kept = self.tracker.open_faults()
        self.tracker = FaultTracker(rule_of)
        self.tracker.restore(kept, self.clock.now)

    @invariant()
    def records_tell_what_is_open(self) -> None:
        assert {code: fault.raised_ms for code, fault in self.tracker.open_faults().items()} == self.believed


TrackerMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestTracker = TrackerMachine.TestCase
