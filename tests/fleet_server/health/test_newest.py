"""Latest values of many reports at once are those of one report after the other, whatever they hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet_server.health.apply import HealthReport, _take
from fleet_server.health.flush_columns import gather
from fleet_server.health.latest import Held
from fleet_server.health.number_columns import NumberColumns
from fleet_server.kit.times import to_ms
from fleet_server.timeline.writer import NewEvent
from protocol.catalogue import metrics
from protocol.catalogue.normal_range import AtLeast, AtMost, OneOf
from protocol.catalogue.vocabulary import TerminalClass
from protocol.records import HealthColumns

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DEVICES = ("d-terminal0000001", "d-terminal0000002")


def _chosen() -> tuple[str, ...]:
    """One metric of each kind of normal range, one without, one that nobody knows."""
    found: dict[str, str] = {"unknown": "invented.name"}
    for metric in metrics.for_class(TerminalClass.SMART):
        normal = metric.normal(TerminalClass.SMART)
        if isinstance(normal, AtLeast | AtMost | OneOf | None) and not metric.is_text:
            found.setdefault(type(normal).__name__, metric.name)
    assert len(found) == 5
    return tuple(found.values())


METRICS = _chosen()
SAMPLES = st.one_of(st.sampled_from([0, 1, 2, 5, 10, 20.5, 50, 95, 99.5, 100, 1e6, -40]), st.none(), st.just("odd"))
NUMBERS = st.sampled_from([0, 1, 20.5, 50, 95, 100])


@st.composite
def reports(draw: st.DrawFn) -> HealthReport:
    steps = draw(st.integers(1, 4))
    names = draw(st.lists(st.sampled_from(METRICS), min_size=1, max_size=4, unique=True))
    start_at = NOW - timedelta(seconds=draw(st.integers(-30, 300)))
    device, seq = draw(st.sampled_from(DEVICES)), draw(st.integers(1, 99))
    step_ms = draw(st.sampled_from([1000, 20_000, 60_000]))
    numbers = None
    if draw(st.booleans()):
        flat = draw(st.lists(NUMBERS, min_size=steps * len(names), max_size=steps * len(names)))
        numbers = np.array(flat, dtype=np.float64)
        columns = NumberColumns(tuple(names), numbers, steps)
        body = HealthColumns(to_ms(start_at), step_ms, steps, columns)  # type: ignore[arg-type]  # reads like a dict of lists
    else:
        each = st.lists(SAMPLES, min_size=steps, max_size=steps)
        body = HealthColumns(to_ms(start_at), step_ms, steps, {name: draw(each) for name in names})
    return HealthReport(device, "smart", device, "2" * 32, seq, start_at, body, numbers)


def held() -> dict[str, Held]:
    return {device: Held({}, None, 0, None) for device in DEVICES}


def take(rows: dict[str, Held], taken: Sequence[HealthReport]) -> list[NewEvent]:
    numbers = [one.numbers for one in taken]
    return _take(rows, taken, gather([one.body for one in taken], numbers), NOW)


def states(rows: dict[str, Held]) -> dict[str, object]:
    """Where a value lies for the search may differ, as long as the value lies there."""
    for row in rows.values():
        assert all(isinstance(one.value, str) or one.holds(one.value) for one in row.entries.values())
    return {
        device: (
            {name: (one.at_ms, one.value, one.abnormal, one.crossed_ms) for name, one in row.entries.items()},
            row.unfolded,
            row.unfolded_since,
        )
        for device, row in rows.items()
    }


def report(*values: float, name: str, seq: int, ago_s: float) -> HealthReport:
    start_at = NOW - timedelta(seconds=ago_s)
    body = HealthColumns(to_ms(start_at), 20_000, len(values), {name: list(values)})
    return HealthReport(DEVICES[0], "smart", DEVICES[0], "2" * 32, seq, start_at, body)


@settings(max_examples=400, deadline=None)
@given(st.lists(reports(), min_size=1, max_size=8), st.lists(reports(), max_size=6))
@example([report(50, name=METRICS[1], seq=1, ago_s=300), report(51, name=METRICS[1], seq=2, ago_s=300)], [])
def test_many_reports_at_once_leave_what_one_after_the_other_leaves(
    first: list[HealthReport], second: list[HealthReport]
) -> None:
    together, apart = held(), held()
    for flush in (first, second):
        ordered = sorted(flush, key=lambda one: (one.start_at, one.seq))
        at_once = take(together, ordered) if ordered else []
        assert at_once == list(chain.from_iterable(take(apart, [one]) for one in ordered))
        assert states(together) == states(apart)
