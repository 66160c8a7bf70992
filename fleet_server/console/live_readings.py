"""The readings of one open page follow what its device says live; where each of them stands does not change.

One object a stream. It knows which readings the page shows and what it was last told of them, and answers HTML only for
what differs. Values stand beside the stored ones for as long as they are fresh; nothing of them is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fleet_server.console.frame import Frame, fragment
from fleet_server.console.live import partial
from fleet_server.console.view_models.readings import Latest, LiveMark, Reading, report
from fleet_server.console.view_models.run import Run
from fleet_server.kit.times import utc_now
from fleet_server.live.hub import LiveUpdate
from protocol.live import LiveProgress
from protocol.records import Sample
from protocol.session import Profile

# Reports come every 2 s; after a few lost ones the stored value is the better one.
FRESH = timedelta(seconds=10)
# Runs whose progress is remembered; the page shows one.
MAX_RUNS = 16
# On a metered link nobody pays for a page that was left open.
METERED_FOR = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class LiveValue:
    """Stands for a row of latest values."""

    metric: str
    at: datetime
    number: float | None
    text: str | None


def asks_until(profile: str, opened_at: datetime) -> datetime | None:
    return min(opened_at, utc_now()) + METERED_FOR if profile == Profile.METERED else None


class LiveReadings:
    """``asks_until``: when the device is no longer asked to speak; None: as long as the page is open."""

    def __init__(self, terminal_class: str, shown: Collection[str], asks_until: datetime | None) -> None:
        self._terminal_class = terminal_class
        self._asks_until = asks_until
        self._values: dict[str, LiveValue] = {}
        self._told: dict[str, tuple[str, bool]] = {}
        self._progress: dict[str, int] = {}
        self._heard_at: datetime | None = None
        self._mark = LiveMark.NONE
        self.shown = shown

    def mark(self, now: datetime) -> LiveMark:
        if self._heard_at is not None and now - self._heard_at < FRESH:
            return LiveMark.ON
        return LiveMark.OVER if self._asks_until is not None and now >= self._asks_until else LiveMark.NONE

    def over(self, latest: Iterable[Latest], now: datetime) -> list[Latest]:
        """The stored values, each replaced by its live one while that is fresh."""
        is_fresh = self.mark(now) is LiveMark.ON
        return [self._values.get(row.metric, row) if is_fresh else row for row in latest]

    def follow(self, update: LiveUpdate, frame: Frame) -> str:
        """What an open page has to change."""
        self._heard_at = update.received_at
        self._values = {
            name: _live_value(name, sample, update.received_at)
            for name, sample in update.samples.items()
            if sample is not None
        }
        rows = [value for name, value in self._values.items() if name in self.shown]
        drawn = report(rows, {}, self._terminal_class, frame.calendar, is_whole=True)
        readings = [*drawn.out, *drawn.rest]
        html = [_cells(one, frame) for one in readings if self._told.get(one.metric) != (one.value, one.is_out)]
        # Only what this report said: what it left out is drawn from the stored values by then, and is told anew.
        self._told = {one.metric: (one.value, one.is_out) for one in readings}
        self._note(update.progress)
        html += [
            partial(
                f"#progress-{one.execution}",
                fragment(frame, "parts/progress.html", id=one.execution, pct=one.progress_pct),
            )
            for one in update.progress
        ]
        return "".join([self.settle(frame), *html])

    def on_run(self, run: Run | None) -> Run | None:
        """Its progress as it was last said: the stored one moves with the steps of a fix only."""
        pct = None if run is None else self._progress.get(run.id)
        if run is None or run.is_final or pct is None:
            return run
        return replace(run, progress_pct=max(pct, run.progress_pct or 0))

    def _note(self, progress: Sequence[LiveProgress]) -> None:
        for one in progress:
            self._progress.pop(one.execution, None)
            self._progress[one.execution] = one.progress_pct
        while len(self._progress) > MAX_RUNS:
            del self._progress[next(iter(self._progress))]

    def settle(self, frame: Frame) -> str:
        """The live mark, when it is no longer the one that the page shows."""
        mark = self.mark(frame.calendar.now)
        if mark is self._mark:
            return ""
        self._mark = mark
        at = frame.calendar.at(self._heard_at)
        return partial("#live-mark", fragment(frame, "parts/live_mark.html", mark=mark, at=at))


def _live_value(name: str, sample: Sample, at: datetime) -> LiveValue:
    if isinstance(sample, str):
        return LiveValue(name, at, None, sample)
    return LiveValue(name, at, None if sample is None else float(sample), None)


def _cells(reading: Reading, frame: Frame) -> str:
    return "".join(
        partial(f"#{cell}-{reading.slug}", fragment(frame, f"parts/reading_{cell}.html", one=reading))
        for cell in ("now", "place")
    )
