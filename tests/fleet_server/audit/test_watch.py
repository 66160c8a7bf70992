"""The scheduler goes over every chain each day, signs what holds, says what does not, and removes what is old."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from fleet_server.audit.anchors import PUBLIC, SEED, Keys, anchor_public_keys
from fleet_server.audit.files import AuditFormat, written
from fleet_server.audit.keeping import named_rows, read_anchors, verify_database
from fleet_server.audit.outside import verify_file
from fleet_server.audit.repository import AuditQuery
from fleet_server.audit.service import AuditFilter, AuditService
from fleet_server.audit.watch import AuditWatch, forget_removed, standings
from fleet_server.db import reading, transaction
from fleet_server.settings import ServerSettings
from tests.fleet_server.factories import settings
from tests.support.audit_rig import change, database_administrator, write_entries

TODAY = datetime(2026, 3, 10, 8, tzinfo=UTC)
# More than two pieces would take long on PostgreSQL; the pieces have a test of their own.
COUNT = 60


@pytest.fixture
def place(tmp_path: Path) -> ServerSettings:
    made = settings(tmp_path)
    made.keys_dir.mkdir(parents=True)
    return made


def a_day(watch: AuditWatch, now: datetime) -> None:
    for _ in range(100):
        if not watch.step(now):
            return
    raise AssertionError("expected the round to end")


def holds(engine: Engine, place: ServerSettings) -> tuple[int, int]:
    outcome = verify_database(engine, "default", anchor_public_keys(place.keys_dir / PUBLIC))
    assert outcome.finding is None, outcome.finding
    return outcome.check.begun_at, outcome.check.anchored


def test_every_chain_is_signed_once_a_day_and_its_end_is_a_file(engine: Engine, place: ServerSettings) -> None:
    write_entries(engine, COUNT)
    write_entries(engine, 5, "other")
    watch = AuditWatch(engine, place)
    a_day(watch, TODAY)
    a_day(watch, TODAY + timedelta(hours=5))
    a_day(AuditWatch(engine, place), TODAY + timedelta(hours=6))
    names = sorted(str(path.relative_to(place.audit_dir)) for path in place.audit_dir.rglob("*.json"))
    assert names == ["default/2026-03-10.json", "other/2026-03-10.json"]
    assert holds(engine, place) == (0, COUNT)
    write_entries(engine, 5)
    a_day(watch, TODAY + timedelta(days=1))
    assert holds(engine, place) == (0, COUNT + 5)
    with reading(engine) as session:
        assert standings(session)["default"]["seq"] == COUNT + 5


def test_a_chain_that_was_changed_is_told_once_and_signed_no_more(engine: Engine, place: ServerSettings) -> None:
    write_entries(engine, COUNT)
    watch = AuditWatch(engine, place)
    a_day(watch, TODAY)
    with database_administrator(engine) as connection:
        change(connection, 7, action="nothing_happened")
    with capture_logs() as logs:
        a_day(watch, TODAY + timedelta(days=1))
        a_day(watch, TODAY + timedelta(days=2))
    assert [(line["log_level"], line["tenant"], line["kind"], line["seq"]) for line in logs] == [
        ("error", "default", "edited", 7)
    ] * 2
    with reading(engine) as session:
        found = AuditService(session, "default").page(AuditFilter(action="audit_found_changed"), None, 10).items
        damage = standings(session)["default"]["damage"]
    assert [(one.data["kind"], one.data["seq"]) for one in found] == [("edited", 7)]
    assert damage["seq"] == 7
    assert len(list(place.audit_dir.rglob("*.json"))) == 1


def test_where_the_key_is_elsewhere_it_is_verified_and_not_signed(engine: Engine, place: ServerSettings) -> None:
    write_entries(engine, COUNT)
    watch = AuditWatch(engine, place)
    a_day(watch, TODAY)
    (place.keys_dir / SEED).unlink()
    write_entries(engine, 5)
    a_day(watch, TODAY + timedelta(days=1))
    assert holds(engine, place) == (0, COUNT)
    with reading(engine) as session:
        assert standings(session)["default"]["seq"] == COUNT + 5
    assert not (place.keys_dir / SEED).exists()


def test_what_is_old_enough_goes_up_to_an_anchor_and_the_rest_holds(
    engine: Engine, place: ServerSettings, tmp_path: Path
) -> None:
    long_ago = TODAY - timedelta(days=700)
    write_entries(engine, 300, began_at=long_ago)
    watch = AuditWatch(engine, place)
    a_day(watch, long_ago + timedelta(days=1))
    write_entries(engine, 20, began_at=TODAY - timedelta(days=1))
    with transaction(engine) as session:
        assert not forget_removed(session, place)
    a_day(watch, TODAY)
    with transaction(engine) as session:
        assert forget_removed(session, place)
    # In the middle of it and at its end.
    assert holds(engine, place) == (300, 320)
    with transaction(engine) as session:
        forget_removed(session, place)
        left = session.execute(text("SELECT min(seq), count(*) FROM audit_entry")).one()
        beside = session.execute(text("SELECT count(*) FROM audit_aside")).scalar_one()
    assert (tuple(left), beside) == ((301, 20), 20)
    assert holds(engine, place) == (300, 320)
    out = tmp_path / "audit.jsonl"
    out.write_bytes(
        b"".join(written(named_rows(engine, "default", AuditQuery(), with_personal=True), AuditFormat.JSONL))
    )
    keys = anchor_public_keys(place.keys_dir / PUBLIC)
    assert verify_file(out, keys, read_anchors(place.audit_dir), lambda _: None).finding is None
    without_stub = verify_file(out, Keys.of(), [], lambda _: None).finding
    assert without_stub is not None
    assert without_stub.damage == "cut"


def test_nothing_goes_that_is_younger_than_a_year_or_that_no_stub_covers(engine: Engine, place: ServerSettings) -> None:
    write_entries(engine, 10, began_at=datetime.now(UTC) - timedelta(days=300))
    watch = AuditWatch(engine, replace(place, audit_kept_days=1))
    a_day(watch, datetime.now(UTC))
    a_day(watch, datetime.now(UTC) + timedelta(days=1))
    with reading(engine) as session:
        assert session.execute(text("SELECT count(*) FROM audit_anchor WHERE kind = 'stub'")).scalar_one() == 1
    with pytest.raises(DBAPIError, match="the audit only grows"), transaction(engine) as session:
        forget_removed(session, place)
    write_entries(engine, 10, "old", began_at=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(DBAPIError, match="the audit only grows"), transaction(engine) as session:
        session.execute(text("DELETE FROM audit_entry WHERE tenant_id = 'old'"))


def test_a_long_chain_is_gone_over_in_pieces(
    sqlite_engine: Engine, place: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet_server.audit.watch.PIECE", 10)
    write_entries(sqlite_engine, 35)
    watch = AuditWatch(sqlite_engine, place)
    steps = 0
    while watch.step(TODAY):
        steps += 1
    assert steps == 5
    assert holds(sqlite_engine, place) == (0, 35)
