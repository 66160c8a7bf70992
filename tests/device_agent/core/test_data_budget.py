from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from device_agent.core.data_budget import NEAR_SHARE, SAVED_EVERY_BYTES, SLOWER, DataBudget, Level, Limits
from device_agent.core.effects import JobDone
from device_agent.core.sampler import Pace
from protocol.identifiers import ExecutionId
from protocol.safety import Condition
from protocol.session import Profile
from tests.device_agent.core.rig import FLOW

SHANGHAI_S = 8 * 3600
LIMITS = Limits(1000, 10_000, lambda _at_ms: SHANGHAI_S)
# Half past eleven at night in Shanghai, on the last day of a month.
LATE = datetime(2026, 11, 30, 15, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def carried(*totals: int, limits: Limits = LIMITS, at: datetime = LATE) -> DataBudget:
    budget = DataBudget(limits, None)
    for total in totals:
        budget.on_carried(total, ms(at))
    return budget


def test_days_and_months_are_those_of_the_devices_own_calendar() -> None:
    budget = carried(600)
    budget.on_carried(700, ms(LATE + timedelta(minutes=29)))
    assert (budget.used.day, budget.used.day_bytes, budget.used.month_bytes) == ("2026-11-30", 700, 700)
    budget.on_carried(750, ms(LATE + HOUR))
    assert (budget.used.day, budget.used.month) == ("2026-12-01", "2026-12")
    assert (budget.used.day_bytes, budget.used.month_bytes) == (50, 50)


def test_a_new_day_of_the_same_month_begins_a_day_only() -> None:
    budget = carried(600, at=LATE - 24 * HOUR)
    budget.on_carried(700, ms(LATE))
    assert (budget.used.day_bytes, budget.used.month_bytes) == (100, 700)


def test_a_clock_that_went_back_frees_nothing() -> None:
    budget = carried(600)
    budget.on_carried(900, ms(LATE - timedelta(days=40)))
    assert (budget.used.month, budget.used.month_bytes, budget.used.day_bytes) == ("2026-11", 900, 900)


def test_a_clock_that_was_set_back_keeps_what_was_carried_and_begins_days_and_months_again() -> None:
    budget = carried(600, at=LATE + timedelta(days=90))
    budget.set_back(ms(LATE))
    assert (budget.used.day, budget.used.month, budget.used.month_bytes) == ("2026-11-30", "2026-11", 600)
    budget.on_carried(650, ms(LATE + HOUR))
    assert (budget.used.day, budget.used.month_bytes) == ("2026-12-01", 50)
    ahead = budget.used
    budget.set_back(ms(LATE + 50 * HOUR))
    assert budget.used == ahead


@pytest.mark.parametrize(
    ("used", "level"), [(0, Level.FREE), (799, Level.FREE), (800, Level.NEAR), (999, Level.NEAR), (1000, Level.SPENT)]
)
def test_what_is_done_without_comes_by_steps(used: int, level: Level) -> None:
    budget = carried(used)
    assert budget.level is level
    live = budget.allowed(msgspec.structs.replace(FLOW, live_for_s=9.0))
    assert (live.live_for_s > 0) is (level is Level.FREE)
    pace = budget.slowed(Pace(Profile.METERED, 60.0, 1800.0))
    assert (pace.sample_s, pace.report_s) == (60.0 * SLOWER[level], 1800.0 * SLOWER[level])
    done = budget.beside(JobDone(ExecutionId("e"), 1, conditions=frozenset({Condition.BATCH_OPEN})))
    assert (Condition.DATA_BUDGET_SPENT in done.conditions) is (level is Level.SPENT)
    assert Condition.BATCH_OPEN in done.conditions


def test_the_nearer_of_two_bounds_decides_and_without_any_all_is_free() -> None:
    assert carried(900, limits=Limits(0, 1000)).level is Level.NEAR
    assert carried(900, limits=Limits(10_000, 1000)).share == 0.9
    free = carried(10**12, limits=Limits())
    assert (free.level, free.share, free.readings()) == (Level.FREE, 0.0, {})
    assert free.used.month_bytes == 10**12


def test_readings_are_of_the_month_and_of_the_nearer_bound() -> None:
    budget = carried(3 * 2**20, limits=Limits(0, 4 * 2**20))
    assert budget.readings() == {"agent.data_month_mb": 3.0, "agent.data_budget_pct": 75.0}


@given(st.text(max_size=40))
def test_a_fact_that_cannot_be_read_begins_anew(stored: str) -> None:
    assert DataBudget(LIMITS, stored).used.month_bytes == 0


class Month(RuleBasedStateMachine):
    """Traffic, a clock that jumps, restarts: held against what was really carried, by local month."""

    @initialize()
    def begin(self) -> None:
        self.at = LATE
        self.newest = ""
        self.total = 0
        self.stored: str | None = None
        self.truth: Counter[str] = Counter()
        self.budget = DataBudget(LIMITS, None)

    def month(self) -> str:
        self.newest = max(self.newest, f"{self.at + timedelta(seconds=SHANGHAI_S):%Y-%m}")
        return self.newest

    @rule(more=st.integers(0, 40_000), hours=st.integers(-50, 900))
    def carry(self, more: int, hours: int) -> None:
        self.at += timedelta(hours=hours)
        self.total += more
        self.budget.on_carried(self.total, ms(self.at))
        self.truth[self.month()] += more
        self.stored = self.budget.to_save().get(DataBudget.FACT, self.stored)

    @rule()
    def crash(self) -> None:
        month = self.budget.used.month
        before = self.budget.used.month_bytes
        self.budget, self.total = DataBudget(LIMITS, self.stored), 0
        forgotten = before - (self.budget.used.month_bytes if self.budget.used.month == month else 0)
        assert 0 <= forgotten < SAVED_EVERY_BYTES
        self.truth[month] -= forgotten

    @rule()
    def stop_and_start(self) -> None:
        self.stored = self.budget.to_save(is_last=True).get(DataBudget.FACT, self.stored)
        used = self.budget.used
        self.budget, self.total = DataBudget(LIMITS, self.stored), 0
        assert self.budget.used == used

    @invariant()
    def all_of_the_month_is_counted(self) -> None:
        used = self.budget.used
        assert used.month_bytes == self.truth[used.month]
        assert 0 <= used.day_bytes <= used.month_bytes
        assert (self.budget.level is Level.FREE) is (self.budget.share < NEAR_SHARE)


TestMonth = Month.TestCase
