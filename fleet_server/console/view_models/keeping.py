"""What an agent keeps until it is delivered, in words: room, age of the oldest, what was given up, gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fleet_server.console.moments import Calendar, Moment
from fleet_server.console.templating import number_text
from fleet_server.console.view_models.readings import Latest
from fleet_server.ingest.standing import Standing
from fleet_server.timeline.service import MAX_GAPS_COUNTED

USED: Final = "agent.spool_used_pct"
OLDEST: Final = "agent.spool_oldest_h"
DEPTH: Final = "agent.queue_depth"
# The catalogue's range for the share that is used.
_FILLING_PCT: Final = 80
_HOUR_S: Final = 3600
_READ: Final = {USED, OLDEST, DEPTH}


@dataclass(frozen=True, slots=True)
class Keeping:
    at: Moment | None
    used: str  # empty when it was not reported
    is_filling: bool
    oldest: str
    given_up: str
    gaps: str
    has_gaps: bool


def keeping(latest: Sequence[Latest], standing: Standing, told: Mapping[str, int], calendar: Calendar) -> Keeping:
    """``told``: how often the timeline tells of a gap in each state."""
    gettext = calendar.texts.gettext
    numbers = {row.metric: row.number for row in latest if row.number is not None}
    used = numbers.get(USED)
    given_up = gettext("%(n)s records") % {"n": number_text(standing.given_up)}
    return Keeping(
        at=calendar.at(max((row.at for row in latest if row.metric in _READ), default=None)),
        used="" if used is None else f"{number_text(used)} %",
        is_filling=used is not None and used > _FILLING_PCT,
        oldest=_oldest(numbers, calendar),
        given_up=given_up if standing.given_up else gettext("none"),
        gaps=_gaps(standing, told, calendar),
        has_gaps=bool(told),
    )


def _oldest(numbers: Mapping[str, float], calendar: Calendar) -> str:
    if numbers.get(DEPTH) == 0:
        return calendar.texts.gettext("nothing waits")
    hours = numbers.get(OLDEST)
    return calendar.texts.gettext("of unknown age") if hours is None else calendar.span(hours * _HOUR_S)


def _gaps(standing: Standing, told: Mapping[str, int], calendar: Calendar) -> str:
    gettext = calendar.texts.gettext
    parts = [
        gettext("open: %(n)s records, since %(moment)s")
        % {"n": number_text(gap.records), "moment": calendar.full(gap.since)}
        for gap in standing.open_gaps
    ]
    counted = {
        "filled": gettext("%(n)s have arrived since"),
        "declared": gettext("%(n)s were given up"),
    }
    parts += [words % {"n": told[state]} for state, words in counted.items() if told.get(state)]
    if sum(told.values()) >= MAX_GAPS_COUNTED:
        parts.append(gettext("and older ones"))
    return "; ".join(parts) or gettext("none")
