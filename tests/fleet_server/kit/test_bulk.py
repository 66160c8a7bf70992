"""The same rows on both databases, whatever is in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select

from fleet_server.db import reading, transaction
from fleet_server.health.models import LatestValue
from fleet_server.ingest.models import DeadLetter, ServerState
from fleet_server.kit import bulk

NOW = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)
DEAD = DeadLetter.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
LATEST = LatestValue.__table__  # type: ignore[attr-defined]  # as above
STATE = ServerState.__table__  # type: ignore[attr-defined]  # as above
NEWEST = bulk.OnConflict(("device_id", "metric"), ("at", "number", "text"), newer="at")


def latest(number: float, at: datetime, metric: str = "m") -> dict[str, object]:
    return {"device_id": "d", "metric": metric, "tenant_id": "t", "at": at, "number": number, "text": None}


def test_a_row_that_exists_is_left_alone(engine: Engine) -> None:
    with transaction(engine) as session:
        bulk.write(session, LATEST, [latest(1.0, NOW)])
        bulk.write(session, LATEST, [latest(2.0, NOW), latest(3.0, NOW, "other")])
    with reading(engine) as session:
        assert dict(session.execute(select(LATEST.c.metric, LATEST.c.number)).all()) == {"m": 1.0, "other": 3.0}


def test_an_update_takes_only_what_is_newer(engine: Engine) -> None:
    with transaction(engine) as session:
        bulk.write(session, LATEST, [latest(1.0, NOW)], NEWEST)
        bulk.write(session, LATEST, [latest(2.0, NOW - timedelta(seconds=1))], NEWEST)
        assert session.execute(select(LATEST.c.number)).scalar_one() == 1.0
        bulk.write(session, LATEST, [latest(3.0, NOW + timedelta(microseconds=1))], NEWEST)
        assert session.execute(select(LATEST.c.number, LATEST.c.at)).one() == (3.0, NOW + timedelta(microseconds=1))


def test_no_rows_are_no_statement(engine: Engine) -> None:
    with transaction(engine) as session:
        bulk.write(session, LATEST, [])


@pytest.fixture
def held(engine: Engine) -> Engine:
    return engine


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
    st.binary(max_size=40),
    st.none() | st.integers(0, 2**53),
)
def test_texts_bytes_and_numbers_come_back_as_they_went(
    held: Engine, text: str, payload: bytes, seq: int | None
) -> None:
    row = {
        "tenant_id": "t",
        "link_id": "l",
        "topic_kind": "urgent",
        "stream": None,
        "seq": seq,
        "reason": "r",
        "detail": text,
        "content_type": "",
        "payload": payload,
        "received_at": NOW,
    }
    with transaction(held) as session:
        session.execute(delete(DEAD))
        session.execute(delete(STATE))
        bulk.write(session, DEAD, [row])
        bulk.write(session, STATE, [{"name": "n", "value": {text: [text, seq]}}])
    with reading(held) as session:
        kept = session.execute(select(*(DEAD.c[name] for name in row))).mappings().one()
        assert {**kept, "payload": bytes(kept["payload"])} == row
        assert session.execute(select(STATE.c.value)).scalar_one() == {text: [text, seq]}
