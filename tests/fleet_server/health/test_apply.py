"""Samples: blocks, latest values, and the moments at which a metric changed sides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, select

from fleet_server.db import reading, transaction
from fleet_server.health.apply import MAX_CHANGES_PER_BLOCK, HealthReport, apply_health
from fleet_server.health.models import HealthBlock
from fleet_server.kit.times import to_ms
from fleet_server.timeline.writer import NewEvent
from protocol.catalogue import metrics
from protocol.catalogue.normal_range import AtLeast
from protocol.catalogue.vocabulary import TerminalClass
from protocol.records import HealthColumns
from tests.support.health_blocks import samples
from tests.support.health_rows import newest_of

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DEVICE = "d-terminal0000001"


def _metric_with_floor() -> tuple[str, float]:
    for metric in metrics.for_class(TerminalClass.SMART):
        normal = metric.normal(TerminalClass.SMART)
        if isinstance(normal, AtLeast) and not metric.is_text and not metric.unknown_values:
            return metric.name, normal.limit
    raise AssertionError("the catalogue has a metric with a lower limit")


METRIC, FLOOR = _metric_with_floor()
GOOD, BAD = FLOOR + 1, FLOOR - 1 - abs(FLOOR) / 10


def report(
    *values: float | str | None, seq: int = 1, ago_s: float = 600, metric: str = METRIC, step_ms: int = 1000
) -> HealthReport:
    start_at = NOW - timedelta(seconds=ago_s)
    body = HealthColumns(to_ms(start_at), step_ms, len(values), {metric: list(values)})
    return HealthReport(DEVICE, "smart", DEVICE, "2" * 32, seq, start_at, body)


def apply(engine: Engine, *reports: HealthReport) -> list[NewEvent]:
    with transaction(engine) as session:
        return apply_health(session, "default", reports, NOW)


def latest(engine: Engine) -> dict[str, tuple[datetime, float | None, str | None]]:
    with reading(engine) as session:
        return {metric: (one.at, one.number, one.text) for metric, one in newest_of(session, DEVICE).items()}


def test_a_block_is_kept_as_it_came(engine: Engine) -> None:
    apply(engine, report(GOOD, None, BAD))
    with reading(engine) as session:
        block = session.execute(select(HealthBlock)).scalar_one()
    assert samples(block.columns) == {METRIC: [GOOD, None, BAD]}
    assert (block.steps, block.step_ms, block.start_at) == (3, 1000, NOW - timedelta(seconds=600))


def test_the_latest_value_is_the_last_that_was_measured(engine: Engine) -> None:
    apply(engine, report(GOOD, GOOD + 1, None))
    assert latest(engine) == {METRIC: (NOW - timedelta(seconds=599), GOOD + 1, None)}


def test_a_late_block_does_not_move_the_latest_value_back(engine: Engine) -> None:
    apply(engine, report(GOOD, ago_s=10, seq=2))
    assert apply(engine, report(BAD, ago_s=100, seq=1)) == []
    assert latest(engine)[METRIC][1] == GOOD


def test_neither_does_one_in_which_all_is_well(engine: Engine) -> None:
    apply(engine, report(GOOD, ago_s=200, seq=1))
    apply(engine, report(GOOD + 2, ago_s=10, seq=3))
    apply(engine, report(GOOD + 1, ago_s=100, seq=2))
    assert latest(engine)[METRIC] == (NOW - timedelta(seconds=10), GOOD + 2, None)


def test_leaving_the_normal_range_and_coming_back_are_told_once_each(engine: Engine) -> None:
    events = apply(engine, report(GOOD, BAD, BAD, GOOD, GOOD, GOOD, GOOD, step_ms=15_000))
    assert [(one.data["metrics"], one.data["abnormal"]) for one in events] == [
        ({METRIC: BAD}, [METRIC]),
        ({METRIC: GOOD}, []),
    ]
    assert [one.at for one in events] == [NOW - timedelta(seconds=585), NOW - timedelta(seconds=525)]


def test_sides_are_remembered_between_blocks(engine: Engine) -> None:
    assert len(apply(engine, report(BAD, ago_s=600))) == 1
    assert apply(engine, report(BAD, BAD, ago_s=500, seq=2)) == []
    assert apply(engine, report(GOOD, ago_s=400, seq=3)) == []
    assert len(apply(engine, report(GOOD, ago_s=300, seq=4))) == 1
    assert apply(engine, report(GOOD, GOOD, ago_s=200, seq=5)) == []


def test_a_flapping_metric_is_told_within_bounds(engine: Engine) -> None:
    assert len(apply(engine, report(*[GOOD, BAD] * 40))) == 1
    slow = report(*[BAD, BAD, GOOD, GOOD, GOOD] * 30, ago_s=500, seq=2, step_ms=20_000)
    with transaction(engine) as session:
        events = apply_health(session, "default", [slow], NOW + timedelta(hours=1))
    assert len(events) == MAX_CHANGES_PER_BLOCK


def test_an_invented_metric_makes_no_row_beside_its_block(engine: Engine) -> None:
    assert apply(engine, report(1.0, metric="invented.name")) == []
    assert latest(engine) == {}


def test_a_text_where_a_number_belongs_is_neither_normal_nor_a_fault(engine: Engine) -> None:
    assert apply(engine, report("odd", GOOD, "odd")) == []
    assert latest(engine)[METRIC][1:] == (None, "odd")


def test_samples_of_the_future_are_put_to_now(engine: Engine) -> None:
    apply(engine, report(GOOD, GOOD, ago_s=-500))
    assert latest(engine)[METRIC][0] == NOW
