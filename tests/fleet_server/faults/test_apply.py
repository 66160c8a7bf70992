"""Raisings and clearings, in every order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations

import pytest
from sqlalchemy import Engine, select

from fleet_server.db import reading, transaction
from fleet_server.faults.apply import FaultReport, apply_faults
from fleet_server.faults.models import Fault
from fleet_server.kit.times import from_ms, to_ms
from fleet_server.timeline.writer import NewEvent
from protocol.records import FaultCleared, FaultRaised, Severity

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DEVICE = "d-terminal0000001"
PAPER = "escpos.PAPER_OUT"
T1, T2 = to_ms(NOW) - 60_000, to_ms(NOW) - 30_000


def raised(at_ms: int = T1, *, code: str = PAPER, count: int = 1, evidence: str = "sensor") -> FaultReport:
    body = FaultRaised(code, Severity.MAJOR, at_ms, at_ms + 1000 * count, count, evidence)
    return FaultReport(DEVICE, body, from_ms(at_ms), from_ms(at_ms + 1000 * count))


def cleared(at_ms: int = T1, *, code: str = PAPER, after_s: int = 10) -> FaultReport:
    body = FaultCleared(code, at_ms, at_ms + 1000 * after_s)
    return FaultReport(DEVICE, body, from_ms(at_ms), from_ms(at_ms + 1000 * after_s))


def apply(engine: Engine, *reports: FaultReport) -> list[NewEvent]:
    with transaction(engine) as session:
        return apply_faults(session, "default", reports, NOW).events


def rows(engine: Engine) -> list[Fault]:
    with reading(engine) as session:
        return list(session.execute(select(Fault).order_by(Fault.__table__.c.raised_ms)).scalars())  # type: ignore[attr-defined]  # SQLModel tables have it


def test_a_raising_makes_one_row_and_one_event(engine: Engine) -> None:
    (event,) = apply(engine, raised())
    (row,) = rows(engine)
    assert (row.is_open, row.severity, row.evidence, row.raised_at) == (True, "major", "sensor", from_ms(T1))
    assert event.data == {"code": PAPER, "severity": "major", "evidence": "sensor", "fault": row.id}
    assert event.at == from_ms(T1)


def test_repeats_fold_into_a_count_without_events(engine: Engine) -> None:
    apply(engine, raised())
    assert apply(engine, raised(count=5), raised(count=3)) == []
    (row,) = rows(engine)
    assert (row.count, row.last_seen_at) == (5, from_ms(T1 + 5000))


def test_a_clearing_ends_its_raising_and_says_how_long_it_lasted(engine: Engine) -> None:
    apply(engine, raised())
    (event,) = apply(engine, cleared())
    (row,) = rows(engine)
    assert (row.is_open, row.cleared_at) == (False, from_ms(T1 + 10_000))
    assert event.data == {"code": PAPER, "fault": row.id, "lasted_s": 10.0}
    assert apply(engine, cleared(after_s=12)) == []


@pytest.mark.parametrize("apart", [True, False])
def test_order_of_arrival_changes_nothing(engine: Engine, apart: bool) -> None:
    story = [raised(), raised(count=4), cleared(), raised(T2, code="term.net"), cleared(T2, code="term.net")]
    outcomes = set()
    for order in random.Random(3).sample(list(permutations(story)), 30):
        with reading(engine) as session:  # nothing done in it is kept
            pieces = [[report] for report in order] if apart else [list(order)]
            events = [one for piece in pieces for one in apply_faults(session, "default", piece, NOW).events]
            table = Fault.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
            kept = sorted(
                (row.code, row.is_open, row.count, row.severity, row.raised_at, row.cleared_at, row.last_seen_at)
                for row in session.execute(select(table)).all()
            )
            told = sorted((one.type, str(one.data["code"]), one.at) for one in events)
            outcomes.add((tuple(kept), tuple(told)))
    assert len(outcomes) == 1


def test_of_one_code_only_the_latest_raising_stays_open(engine: Engine) -> None:
    for first, second in ((T1, T2), (T2, T1)):
        code = f"term.{first}"
        apply(engine, raised(first, code=code))
        events = apply(engine, raised(second, code=code))
        assert sorted(one.type for one in events) == ["fault_cleared", "fault_raised"]
    by_code: dict[str, list[bool]] = {}
    for row in rows(engine):
        by_code.setdefault(row.code, []).append(row.is_open)
    assert list(by_code.values()) == [[False, True], [False, True]]


def test_the_devices_own_word_about_an_end_stands_above_the_concluded_one(engine: Engine) -> None:
    apply(engine, raised(T1), raised(T2))
    assert apply(engine, cleared(T1, after_s=5)) == []
    assert rows(engine)[0].cleared_at == from_ms(T1 + 5000)


def test_a_clearing_without_its_raising_takes_the_severity_of_the_catalogue(engine: Engine) -> None:
    apply(engine, cleared(code="agent.APP_DEAD"), cleared(code="unheard.of"))
    assert {row.code: (row.severity, row.is_open) for row in rows(engine)} == {
        "agent.APP_DEAD": ("critical", False),
        "unheard.of": ("minor", False),
    }


def test_absurd_counts_fit_the_column(engine: Engine) -> None:
    apply(engine, raised(count=2**53))
    assert rows(engine)[0].count == 2**31 - 1


def test_events_stand_in_the_order_in_which_things_happened(engine: Engine) -> None:
    events = apply(engine, raised(T1), cleared(T1), raised(T2), cleared(T2))
    assert all(one.at <= other.at for one, other in pairwise(events))
    assert [one.at - from_ms(T1) for one in events][-1] == timedelta(seconds=40)
