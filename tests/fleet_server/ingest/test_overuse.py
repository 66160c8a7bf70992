"""Who is slowed down, released and told of, and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import col, select

from fleet_server.db import reading, transaction
from fleet_server.ingest import overuse
from fleet_server.ingest.directory import Directory
from fleet_server.ingest.overuse import CALM_S, MAX_REMEMBERED, OVER_QUOTA, SPACING_S, Due, Overuse
from fleet_server.timeline.models import Event
from tests.support.fleet_rows import GATEWAY, STRANGER, TERMINAL, make_fleet

NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)


def test_a_link_is_slowed_once_a_minute_and_told_once_an_hour_and_released_when_it_is_calm() -> None:
    links = Overuse()
    links.note({"a": 3}, 0.0)
    assert links.due(0.0) == Due(["a"], [], {"a": 3})
    assert links.due(0.0) == Due(["a"], [], {"a": 3})  # nothing was done yet
    links.done(links.due(0.0), 0.0)
    links.note({"a": 4}, 30.0)
    assert links.due(30.0) == Due()
    assert links.due(SPACING_S + 1) == Due(["a"], [], {})
    links.note({"a": 5}, 3601.0)
    assert links.due(3601.0) == Due(["a"], [], {"a": 9})
    links.done(links.due(3601.0), 3601.0)
    calm = links.due(3602.0 + CALM_S)
    assert calm == Due([], ["a"], {})
    links.done(calm, 3700.0)
    assert links.is_empty


def test_no_more_links_are_remembered_than_stated() -> None:
    links = Overuse()
    links.note({f"link{number}": 1 for number in range(MAX_REMEMBERED + 5)}, 0.0)
    assert len(links.due(0.0).to_slow) == MAX_REMEMBERED


def test_the_timeline_has_one_entry_a_link_and_hour_whichever_worker_tells(engine: Engine) -> None:
    make_fleet(engine)

    def tell(dropped: dict[str, int], now: datetime) -> int:
        with transaction(engine) as session:
            links = Directory().find(session, dropped, 0.0)
            return len(overuse.tell(session, links.values(), dropped, now))

    assert tell({TERMINAL: 7, STRANGER: 9}, NOW) == 1
    assert tell({TERMINAL: 7, GATEWAY: 1}, NOW + timedelta(minutes=59)) == 1
    assert tell({TERMINAL: 2}, NOW + timedelta(minutes=61)) == 1
    assert tell({}, NOW) == 0
    with reading(engine) as session:
        events = session.exec(select(Event).order_by(col(Event.at))).all()
    assert {one.type for one in events} == {"security"}
    assert events[0].data == {"code": OVER_QUOTA, "detail": "7 messages were put off"}
