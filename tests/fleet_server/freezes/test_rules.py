from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.freezes.occasions import occasions_after
from fleet_server.freezes.rules import FURTHEST, LONGEST, held_until, starts_in_freeze
from protocol.commands import DangerClass

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True)
class Days:
    """``begin`` and ``end``: hours from noon."""

    begin: int
    end: int

    @property
    def begins_at(self) -> datetime:
        return NOON + timedelta(hours=self.begin)

    @property
    def ends_at(self) -> datetime:
        return NOON + timedelta(hours=self.end)


SPANS = st.lists(st.builds(Days, st.integers(-20, 20), st.integers(-20, 20)), max_size=8)


@given(SPANS)
def test_what_is_held_would_start_at_the_first_moment_that_no_freeze_covers(spans: list[Days]) -> None:
    def is_covered(hour: int) -> bool:
        return any(one.begin <= hour < one.end for one in spans)

    until = held_until(spans, NOON)
    if until is None:
        assert not is_covered(0)
        return
    free = (until - NOON) // timedelta(hours=1)
    assert free > 0
    assert all(is_covered(hour) for hour in range(free))
    assert not is_covered(free)


@pytest.mark.parametrize(
    ("danger_class", "is_planned", "starts"),
    [
        (DangerClass.READS, True, True),
        (DangerClass.READS, False, True),
        (DangerClass.CHANGES, False, True),
        (DangerClass.SOFTWARE, False, True),
        (DangerClass.CHANGES, True, False),
        (DangerClass.SOFTWARE, True, False),
    ],
)
def test_only_what_is_planned_for_many_and_changes_something_is_held(
    danger_class: DangerClass, is_planned: bool, starts: bool
) -> None:
    assert starts_in_freeze(danger_class, is_planned=is_planned) is starts


@given(st.dates(date(2025, 1, 1), date(2036, 12, 31)))
def test_occasions_of_any_day_can_be_declared_as_they_are(today: date) -> None:
    found = occasions_after(today)
    assert [one.key for one in found] == [one.key for one in sorted(found, key=lambda one: one.first)]
    assert {"year_end", "may_day", "june_sale", "national_day", "double_11"} <= {one.key for one in found}
    for one in found:
        begins_at, ends_at = one.span(SHANGHAI)
        assert one.last >= today
        assert ends_at - begins_at <= LONGEST
        assert begins_at <= datetime(today.year, today.month, today.day, tzinfo=SHANGHAI) + FURTHEST


def test_the_days_of_a_year_are_those_of_the_calendar() -> None:
    found = {one.key: (one.first.isoformat(), one.last.isoformat()) for one in occasions_after(date(2026, 9, 1))}
    assert found == {
        "national_day": ("2026-09-29", "2026-10-08"),
        "double_11": ("2026-11-09", "2026-11-12"),
        "year_end": ("2026-12-30", "2027-01-02"),
        "spring_festival": ("2027-01-30", "2027-02-14"),
        "may_day": ("2027-04-30", "2027-05-05"),
        "june_sale": ("2027-06-16", "2027-06-19"),
    }


def test_a_span_is_from_midnight_to_midnight_where_the_shops_are() -> None:
    national_day = next(one for one in occasions_after(date(2026, 9, 1)) if one.key == "national_day")
    assert [moment.isoformat() for moment in national_day.span(SHANGHAI)] == [
        "2026-09-28T16:00:00+00:00",
        "2026-10-08T16:00:00+00:00",
    ]


def test_the_year_end_that_goes_on_is_still_an_occasion() -> None:
    first = occasions_after(date(2027, 1, 1))[0]
    assert (first.key, first.first.isoformat()) == ("year_end", "2026-12-30")
