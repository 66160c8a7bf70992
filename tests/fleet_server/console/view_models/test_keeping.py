from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fleet_server.console.language import Language, translations
from fleet_server.console.moments import Calendar, zone_of
from fleet_server.console.view_models.keeping import DEPTH, OLDEST, USED, keeping
from fleet_server.ingest.standing import OpenGap, Standing
from fleet_server.timeline.service import MAX_GAPS_COUNTED

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
ENGLISH = Calendar(Language.EN, translations(Language.EN), zone_of("Asia/Shanghai"), NOW)
CALM = Standing(0, ())


@dataclass(frozen=True)
class Value:
    metric: str
    number: float | None
    at: datetime = NOW
    text: str | None = None


def latest(**numbers: float) -> list[Value]:
    names = {"used": USED, "oldest": OLDEST, "depth": DEPTH}
    return [Value(names[name], number) for name, number in numbers.items()]


def test_a_spool_at_rest_is_calm_in_words() -> None:
    shown = keeping(latest(used=4.5, oldest=0.0, depth=0), CALM, {}, ENGLISH)
    assert (shown.used, shown.is_filling, shown.oldest, shown.given_up, shown.gaps, shown.has_gaps) == (
        "4.5 %",
        False,
        "nothing waits",
        "none",
        "none",
        False,
    )


def test_a_spool_that_fills_says_so_and_how_far_back_it_waits() -> None:
    shown = keeping(latest(used=81, oldest=26.5, depth=9000), Standing(12_345, ()), {}, ENGLISH)
    assert (shown.used, shown.is_filling, shown.oldest, shown.given_up) == (
        "81 %",
        True,
        "26 h 30 min",
        "12,345 records",
    )


def test_what_is_not_reported_is_not_made_up() -> None:
    shown = keeping([], CALM, {}, ENGLISH)
    assert (shown.used, shown.oldest, shown.at) == ("", "of unknown age", None)


def test_gaps_are_told_as_open_as_filled_and_as_given_up() -> None:
    standing = Standing(0, (OpenGap(NOW - timedelta(hours=1), 42),))
    shown = keeping([], standing, {"open": 1, "filled": 3, "declared": 2}, ENGLISH)
    assert shown.gaps == (
        "open: 42 records, since 2026-03-02 13:00:00 Beijing time; 3 have arrived since; 2 were given up"
    )
    assert shown.has_gaps


def test_more_gaps_than_are_counted_are_said_to_be_more() -> None:
    assert keeping([], CALM, {"filled": MAX_GAPS_COUNTED}, ENGLISH).gaps.endswith("and older ones")
