"""The same rows on both databases, whatever is in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
import sqlalchemy.exc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, select
from sqlmodel import Session

from fleet_server.db import reading, transaction
from fleet_server.health.models import DeviceHealth, HealthBlock
from fleet_server.ingest.models import DeadLetter, ServerState
from fleet_server.kit import bulk
from fleet_server.timeline.models import Event
from tests.support.engines import postgres_engine
from tests.support.postgres import PostgresServer

NOW = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)
DEAD = DeadLetter.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
LATEST = DeviceHealth.__table__  # type: ignore[attr-defined]  # as above
BLOCK = HealthBlock.__table__  # type: ignore[attr-defined]  # as above
EVENT = Event.__table__  # type: ignore[attr-defined]  # as above
STATE = ServerState.__table__  # type: ignore[attr-defined]  # as above
NEWEST = bulk.OnConflict(("device_id",), ("unfolded", "unfolded_since"), newer="unfolded_since")


def latest(number: int, at: datetime, device_id: str = "m") -> dict[str, object]:
    row = {"device_id": device_id, "tenant_id": "t", "latest": "{}", "folded_id": 0}
    return {**row, "unfolded": number, "unfolded_since": at}


def test_a_row_that_exists_is_left_alone(engine: Engine) -> None:
    with transaction(engine) as session:
        bulk.write(session, LATEST, [latest(1, NOW)])
        bulk.write(session, LATEST, [latest(2, NOW), latest(3, NOW, "other")])
    with reading(engine) as session:
        assert dict(session.execute(select(LATEST.c.device_id, LATEST.c.unfolded)).all()) == {"m": 1, "other": 3}


def test_an_update_takes_only_what_is_newer(engine: Engine) -> None:
    with transaction(engine) as session:
        bulk.write(session, LATEST, [latest(1, NOW)], NEWEST)
        bulk.write(session, LATEST, [latest(2, NOW - timedelta(seconds=1))], NEWEST)
        assert session.execute(select(LATEST.c.unfolded)).scalar_one() == 1
        bulk.write(session, LATEST, [latest(3, NOW + timedelta(microseconds=1))], NEWEST)
        assert session.execute(select(LATEST.c.unfolded, LATEST.c.unfolded_since)).one() == (
            3,
            NOW + timedelta(microseconds=1),
        )


def test_no_rows_are_no_statement(engine: Engine) -> None:
    with transaction(engine) as session:
        bulk.write(session, LATEST, [])


@pytest.fixture(params=[bulk.COPY_FROM_ROWS, 1], ids=["few", "copied"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test goes both ways into PostgreSQL, whatever the number of rows."""
    monkeypatch.setattr(bulk, "COPY_FROM_ROWS", request.param)


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


def test_rows_that_the_table_numbers_itself_come_back_as_they_went_in_their_order(engine: Engine) -> None:
    names = (
        "tenant_id",
        "link_id",
        "stream",
        "seq",
        "device_id",
        "start_at",
        "step_ms",
        "steps",
        "columns",
        "received_at",
    )
    rows = [("t", "l", "s", seq, "d", NOW - timedelta(days=seq), 5, 6, bytes([seq, 0]), NOW) for seq in range(3)]
    with transaction(engine) as session:
        bulk.insert_tuples(session, BLOCK, names, rows)
        bulk.insert_tuples(session, BLOCK, names, rows[:1])
        bulk.insert_tuples(session, BLOCK, names, [])
    with reading(engine) as session:
        found = session.execute(select(*(BLOCK.c[name] for name in names)).order_by(BLOCK.c.id)).all()
    assert [tuple(row) for row in found] == [*rows, rows[0]]


def test_two_writes_of_one_transaction_are_two_writes(engine: Engine) -> None:
    with transaction(engine) as session:
        bulk.write(session, LATEST, [latest(1, NOW)], NEWEST)
        bulk.write_tuples(session, LATEST, tuple(latest(0, NOW)), [tuple(latest(2, NOW, "n").values())], NEWEST)
        session.execute(LATEST.update().values(unfolded=5))
        bulk.write(session, LATEST, [latest(3, NOW, "o")], NEWEST)
    with reading(engine) as session:
        assert dict(session.execute(select(LATEST.c.device_id, LATEST.c.unfolded)).all()) == {"m": 5, "n": 5, "o": 3}


def test_a_transaction_that_is_taken_back_leaves_the_connection_usable(engine: Engine) -> None:
    for number in (1, 2):
        with engine.connect() as connection, Session(connection) as session:
            bulk.write(session, LATEST, [latest(number, NOW)])
            session.rollback()
            bulk.write(session, LATEST, [latest(number, NOW, f"m{number}")])
            session.commit()
    with reading(engine) as session:
        assert set(session.execute(select(LATEST.c.device_id)).scalars()) == {"m1", "m2"}


class Cutting(list[tuple[object, ...]]):
    """Rows during whose reading the connection that takes them is lost."""

    def __init__(self, engine: Engine, pid: int) -> None:
        super().__init__([tuple(latest(1, NOW).values())])
        self._engine, self._pid = engine, pid

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        with self._engine.connect() as other:
            other.execute(select(func.pg_terminate_backend(self._pid, 5000)))
        return super().__iter__()


@pytest.fixture
def on_postgres(postgres_server: PostgresServer) -> Iterator[Engine]:
    """SQLite is never away and takes a text of any length."""
    with postgres_engine(postgres_server) as opened:
        yield opened


@pytest.mark.postgres
def test_a_row_that_the_database_refuses_is_not_taken_for_a_lost_connection(on_postgres: Engine) -> None:
    with transaction(on_postgres) as session:
        with pytest.raises(sqlalchemy.exc.DataError) as refused:
            bulk.write(session, LATEST, [latest(1, NOW) | {"tenant_id": "x" * 65}])
        session.rollback()
    assert not refused.value.connection_invalidated


@pytest.mark.postgres
def test_a_connection_lost_in_between_is_told_as_such_and_replaced(on_postgres: Engine) -> None:
    with Session(on_postgres) as session:
        pid = session.execute(select(func.pg_backend_pid())).scalar_one()
        with pytest.raises(sqlalchemy.exc.OperationalError) as away:
            bulk.write_tuples(session, LATEST, tuple(latest(0, NOW)), Cutting(on_postgres, pid))
        assert away.value.connection_invalidated
    with transaction(on_postgres) as session:
        bulk.write(session, LATEST, [latest(1, NOW)])


def test_rows_that_are_there_are_changed_by_their_key_and_no_others(engine: Engine) -> None:
    later = NOW + timedelta(hours=1)
    with transaction(engine) as session:
        bulk.write(session, LATEST, [latest(number, NOW, f"m{number}") for number in range(4)])
        changes = [("m1", later, 10), ("m3", NOW, 30), ("no", NOW, 40)]
        bulk.update(session, LATEST, "device_id", ("unfolded_since", "unfolded"), changes)
        bulk.update(session, LATEST, "device_id", ("unfolded",), [("m2", 7)])
        bulk.update(session, LATEST, "device_id", ("unfolded",), [])
    with reading(engine) as session:
        rows = session.execute(select(LATEST.c.device_id, LATEST.c.unfolded_since, LATEST.c.unfolded)).all()
    assert {tuple(row) for row in rows} == {("m0", NOW, 0), ("m1", later, 10), ("m2", NOW, 7), ("m3", NOW, 30)}


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=8))])
def test_a_moment_is_the_same_whatever_its_zone_and_never_without_one(sqlite_engine: Engine, zone: tzinfo) -> None:
    with transaction(sqlite_engine) as session:
        bulk.write(session, LATEST, [latest(1, NOW.astimezone(zone))])
        assert session.execute(select(LATEST.c.unfolded_since)).scalar_one() == NOW
        with pytest.raises(ValueError, match="time zone"):
            bulk.write(session, LATEST, [latest(1, NOW.replace(tzinfo=None), "n")])


def event_row(text: str) -> dict[str, object]:
    return {
        "tenant_id": "t",
        "device_id": "d",
        "type": "note",
        "execution_id": None,
        "at": NOW,
        "received_at": NOW,
        "actor": "",
        "data": {"text": text},
    }


def test_appended_rows_are_numbered_in_their_order(engine: Engine) -> None:
    texts = [f"%s 'quoted' {number}" for number in range(30)]
    with transaction(engine) as session:
        assert bulk.append(session, EVENT, [], 1) == []
        first = bulk.append(session, EVENT, [event_row("first")], 1)
        ids = bulk.append(session, EVENT, [event_row(text) for text in texts], 1)
        rows = session.execute(select(EVENT.c.id, EVENT.c.data, EVENT.c.at).order_by(EVENT.c.id)).all()
    assert [row[0] for row in rows] == [*first, *ids]
    assert [row[1]["text"] for row in rows] == ["first", *texts]
    assert {row[2] for row in rows} == {NOW}


def test_numbers_ascend_in_the_order_of_commits_whoever_appends(engine: Engine) -> None:
    """One who appended and has not committed makes the next wait, and gives it a higher number."""
    second: list[int] = []

    def append_too() -> None:
        with transaction(engine) as session:
            second.extend(bulk.append(session, EVENT, [event_row("second")], 1))

    thread = threading.Thread(target=append_too)
    with transaction(engine) as session:
        first = bulk.append(session, EVENT, [event_row("a"), event_row("b")], 1)
        thread.start()
        thread.join(0.3)
        assert not second
    thread.join(20)
    assert second[0] > first[-1]
