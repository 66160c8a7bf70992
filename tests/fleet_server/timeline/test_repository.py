from __future__ import annotations

import random
from datetime import timedelta

from sqlalchemy import Engine

from fleet_server.db import reading, transaction
from fleet_server.timeline.repository import TimelineRepository
from fleet_server.timeline.writer import NewEvent, append_events
from tests.fleet_server.factories import NOON, TENANT
from tests.support.plans import plans_of

DEVICE = "d-one"
TYPES = ("presence", "execution", "verdict", "note")


def fill(engine: Engine, count: int, types: tuple[str, ...] = TYPES) -> list[tuple[str, int]]:
    """Type and id of each, newest first; many of the same moment."""
    dice = random.Random(31)
    events = [
        NewEvent(dice.choice((DEVICE, "d-two")), dice.choice(types), NOON - timedelta(seconds=dice.randrange(20)), {})
        for _ in range(count)
    ]
    with transaction(engine) as session:
        ids = append_events(session, TENANT, events, NOON)
    made = [(one.at, id_, one.type) for one, id_ in zip(events, ids, strict=True) if one.device_id == DEVICE]
    return [(type_, id_) for _, id_, type_ in sorted(made, reverse=True)]


def test_pages_of_some_types_are_those_of_all_without_the_others(engine: Engine) -> None:
    made = fill(engine, 200)
    wanted = {"presence", "verdict", "gap"}
    found: list[int | None] = []
    before = None
    with reading(engine) as session:
        while page := TimelineRepository(session, TENANT).newest_first(DEVICE, wanted, before, 7):
            found += [row.id for row in page]
            before = (page[-1].at, page[-1].id or 0)
    assert found == [id_ for type_, id_ in made if type_ in wanted]


def test_a_type_that_a_device_never_made_is_found_missing_by_the_index_alone(sqlite_engine: Engine) -> None:
    fill(sqlite_engine, 50, ("presence",))
    with reading(sqlite_engine) as session, plans_of(sqlite_engine) as plans:
        TimelineRepository(session, TENANT).newest_first(DEVICE, {"gap", "security"}, None, 50)
    (plan,) = plans.values()
    walks = [line for line in plan if "event" in line.lower() and "INDEX" in line]
    assert sum("ix_event_device_type_at (device_id=? AND type=?" in line for line in walks) == 2, plan
    assert not any(line.startswith("SCAN event") for line in plan), plan
