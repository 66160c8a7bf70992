"""What the device door forgets."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from fleet_server.db import reading, transaction
from fleet_server.devices.models import HeardHour
from fleet_server.ingest import retention
from fleet_server.ingest.models import DeadLetter
from fleet_server.kit import bulk
from tests.support.fleet_rows import OTHER, TENANT, TERMINAL, make_fleet
from tests.support.flush_rig import START

_DEAD = DeadLetter.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_HEARD = HeardHour.__table__  # type: ignore[attr-defined]  # as above


def letter(link: str, seq: int, age_days: int = 0) -> dict[str, object]:
    return {
        "tenant_id": TENANT,
        "link_id": link,
        "topic_kind": "record",
        "stream": None,
        "seq": seq,
        "reason": "r",
        "detail": "",
        "content_type": "",
        "payload": b"",
        "received_at": START - timedelta(days=age_days),
    }


def test_the_newest_letters_of_each_link_are_kept_and_none_for_ever(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_DEAD_PER_LINK", 5)
    rows = [letter(TERMINAL, seq) for seq in range(12)] + [letter(OTHER, seq, age_days=seq * 20) for seq in range(4)]
    with transaction(engine) as session:
        bulk.write(session, _DEAD, rows)
        retention.trim(session, TENANT, START)
    with reading(engine) as session:
        kept = session.execute(select(_DEAD.c.link_id, _DEAD.c.seq)).all()
    assert sorted(seq for link, seq in kept if link == TERMINAL) == [7, 8, 9, 10, 11]
    assert Counter(link for link, _ in kept) == {TERMINAL: 5, OTHER: 2}


def test_the_newest_bytes_of_each_link_and_in_all_are_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MAX_DEAD_LINK_BYTES", 450)
    rows = [letter(link, seq) | {"payload": b"x" * 100} for seq in range(8) for link in (TERMINAL, OTHER)]
    with transaction(engine) as session:
        bulk.write(session, _DEAD, rows)
        retention.trim(session, TENANT, START)
        of_each = session.execute(select(_DEAD.c.link_id, _DEAD.c.seq)).all()
        monkeypatch.setattr(retention, "MAX_DEAD_BYTES", 300)
        retention.trim(session, TENANT, START)
        in_all = session.execute(select(_DEAD.c.link_id, _DEAD.c.seq)).all()
    assert set(of_each) == {(link, seq) for seq in (4, 5, 6, 7) for link in (TERMINAL, OTHER)}
    assert set(in_all) == {(OTHER, 7), (TERMINAL, 7), (OTHER, 6)}


def test_hours_beyond_any_habit_are_forgotten(engine: Engine) -> None:
    make_fleet(engine)
    hours = [
        {"device_id": TERMINAL, "hour_at": START - timedelta(days=days), "tenant_id": TENANT} for days in (1, 55, 57)
    ]
    with transaction(engine) as session:
        bulk.write(session, _HEARD, hours)
        retention.trim(session, TENANT, START)
    with reading(engine) as session:
        assert len(session.execute(select(_HEARD)).all()) == 2
