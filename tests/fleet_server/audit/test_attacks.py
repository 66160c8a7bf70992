"""Somebody who may do everything in the database changes the past: each way is found, at its place and by its kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlmodel import Session

from fleet_server.audit.anchors import Signed
from fleet_server.audit.checking import Check, Damage, verify
from fleet_server.audit.keeping import anchor
from fleet_server.audit.repository import AuditRepository
from fleet_server.kit.times import from_us, utc_now
from tests.support.audit_rig import (
    KEY,
    chain,
    change,
    database_administrator,
    rehash,
    remove,
    set_head,
    verified,
    write_entries,
)

COUNT = 40
Attack = Callable[[Connection], None]


@pytest.fixture
def written(engine: Engine) -> Engine:
    write_entries(engine, COUNT)
    write_entries(engine, COUNT, "other")
    return engine


def edited(connection: Connection) -> None:
    change(connection, 7, action="nothing_happened")


def another_time(connection: Connection) -> None:
    change(connection, 7, at=from_us(chain(connection)[6].at_us + 1))


def another_person(connection: Connection) -> None:
    change(connection, 7, actor="person:u-9")


def other_data(connection: Connection) -> None:
    change(connection, 7, data='{"number": 6}')


def edited_and_hashed(connection: Connection) -> None:
    row = replace(chain(connection)[6], action="nothing_happened")
    change(connection, 7, action=row.action, row_hash=row.digest())


def other_address(connection: Connection) -> None:
    statement = (
        "UPDATE audit_aside SET document = '{\"address\": \"10.9.9.9\"}' WHERE seq = 7 AND tenant_id = 'default'"
    )
    connection.execute(text(statement))


def cut(connection: Connection) -> None:
    remove(connection, 7, 9)


def cut_at_the_beginning(connection: Connection) -> None:
    remove(connection, 1, 6)


def cut_and_numbered_anew(connection: Connection) -> None:
    remove(connection, 7, 9)
    _renumber(connection, "seq - 3", "seq > 9")


def truncated(connection: Connection) -> None:
    remove(connection, COUNT - 2, COUNT)


def swapped(connection: Connection) -> None:
    _renumber(connection, "CASE seq WHEN 7 THEN 20 ELSE 7 END", "seq IN (7, 20)")


def neighbours_swapped(connection: Connection) -> None:
    _renumber(connection, "15 - seq", "seq IN (7, 8)")


def contents_swapped(connection: Connection) -> None:
    seventh, eighth = chain(connection)[6:8]
    for seq, row in ((7, eighth), (8, seventh)):
        change(
            connection,
            seq,
            at=from_us(row.at_us),
            actor=row.actor,
            target=row.target,
            data=_json(row.data),
            aside=row.aside,
        )
    connection.execute(text("DELETE FROM audit_aside WHERE seq IN (7, 8)"))


def inserted(connection: Connection) -> None:
    _renumber(connection, "seq + 1", "seq > 6")
    _copy(connection, of=3, to=7)


def inserted_well_hashed(connection: Connection) -> None:
    before = chain(connection)[5]
    _renumber(connection, "seq + 1", "seq > 6")
    _copy(connection, of=3, to=7)
    connection.execute(text("DELETE FROM audit_aside WHERE tenant_id = 'default'"))
    own = replace(chain(connection)[2], seq=7).digest(before.row_hash)
    change(connection, 7, prev_hash=before.row_hash, row_hash=own)


def put_in_again(connection: Connection) -> None:
    _copy(connection, of=7, to=COUNT + 1)
    set_head(connection, COUNT + 1, chain(connection)[6].row_hash)


def moved_here(connection: Connection) -> None:
    remove(connection, 7, 7)
    connection.execute(text("UPDATE audit_entry SET tenant_id = 'default' WHERE tenant_id = 'other' AND seq = 7"))


def moved_away(connection: Connection) -> None:
    moved = "UPDATE audit_entry SET tenant_id = 'other', seq = :seq WHERE tenant_id = 'default' AND seq = 7"
    connection.execute(text(moved), {"seq": COUNT + 1})


ATTACKS: list[tuple[Attack, Damage, int]] = [
    (edited, Damage.EDITED, 7),
    (another_time, Damage.EDITED, 7),
    (another_person, Damage.EDITED, 7),
    (other_data, Damage.EDITED, 7),
    (edited_and_hashed, Damage.EDITED, 7),
    (other_address, Damage.EDITED, 7),
    (cut, Damage.CUT, 7),
    (cut_at_the_beginning, Damage.CUT, 1),
    (cut_and_numbered_anew, Damage.CUT, 7),
    (truncated, Damage.TRUNCATED, COUNT - 2),
    (swapped, Damage.REORDERED, 7),
    (neighbours_swapped, Damage.REORDERED, 7),
    (contents_swapped, Damage.REORDERED, 7),
    (inserted, Damage.INSERTED, 7),
    (inserted_well_hashed, Damage.INSERTED, 7),
    (put_in_again, Damage.INSERTED, COUNT + 1),
    (moved_here, Damage.INSERTED, 7),
    (moved_away, Damage.CUT, 7),
]


@pytest.mark.parametrize(("attack", "damage", "seq"), ATTACKS, ids=[one[0].__name__ for one in ATTACKS])
def test_damage_is_found_at_its_place_and_by_its_kind(
    written: Engine, attack: Attack, damage: Damage, seq: int
) -> None:
    assert verified(written).finding is None
    with database_administrator(written) as connection:
        attack(connection)
    finding = verified(written).finding
    assert finding is not None
    assert (finding.damage, finding.seq) == (damage, seq), finding.detail


def test_an_entry_moved_to_another_tenant_is_found_there_too(written: Engine) -> None:
    with database_administrator(written) as connection:
        moved_away(connection)
    finding = verified(written, "other").finding
    assert finding is not None
    assert (finding.damage, finding.seq) == (Damage.INSERTED, COUNT + 1)


def anchored(engine: Engine, folder: Path) -> Signed:
    signed = anchor(engine, verified(engine), KEY, folder, utc_now())
    assert signed is not None
    return signed


def test_a_tail_written_anew_with_its_head_hangs_together_and_does_not_fit_the_anchor(
    written: Engine, tmp_path: Path
) -> None:
    first = anchored(written, tmp_path)
    write_entries(written, 10)
    second = anchored(written, tmp_path)
    write_entries(written, 10)
    with database_administrator(written) as connection:
        change(connection, COUNT + 5, action="nothing_happened")
        rows = chain(connection)
        tail = [replace(row, action="nothing_happened") if row.seq == COUNT + 5 else row for row in rows[COUNT + 4 :]]
        set_head(connection, rows[-1].seq, rehash(connection, tail))
    finding = verified(written).finding
    assert finding is not None
    assert (finding.damage, finding.seq) == (Damage.REWRITTEN, COUNT + 1), finding.detail
    assert str(first.statement.seq) in finding.detail
    with database_administrator(written) as connection:
        connection.execute(text("DELETE FROM audit_anchor"))
    # Nothing here remembers it any more; the anchor that was kept elsewhere does.
    assert verified(written).finding is None
    outside = verified(written, anchors=[first, second]).finding
    assert outside is not None
    assert outside.damage is Damage.REWRITTEN


def test_last_entries_removed_with_their_head_are_missed_by_the_anchor(written: Engine, tmp_path: Path) -> None:
    kept = anchored(written, tmp_path)
    with database_administrator(written) as connection:
        rows = chain(connection)
        remove(connection, COUNT - 2, COUNT)
        set_head(connection, COUNT - 3, rows[COUNT - 4].row_hash)
    for finding in (verified(written).finding, verified(written, anchors=[kept]).finding):
        assert finding is not None
        assert (finding.damage, finding.seq) == (Damage.TRUNCATED, COUNT - 2)


def test_the_last_entry_edited_and_hashed_does_not_fit_the_head(written: Engine) -> None:
    with database_administrator(written) as connection:
        row = replace(chain(connection)[-1], action="nothing_happened")
        change(connection, COUNT, action=row.action, row_hash=row.digest())
    finding = verified(written).finding
    assert finding is not None
    assert (finding.damage, finding.seq) == (Damage.EDITED, COUNT)


def test_an_anchor_that_is_missing_or_signed_by_another_key_is_found(written: Engine, tmp_path: Path) -> None:
    anchored(written, tmp_path)
    write_entries(written, 3)
    anchored(written, tmp_path)
    with database_administrator(written) as connection:
        forged = "UPDATE audit_anchor SET envelope = replace(envelope, 'sig\":\"', 'sig\":\"A') WHERE seq > :seq"
        connection.execute(text(forged), {"seq": COUNT})
    finding = verified(written).finding
    assert finding is not None
    assert finding.damage is Damage.ANCHORS
    with database_administrator(written) as connection:
        back = "UPDATE audit_anchor SET envelope = replace(envelope, 'sig\":\"A', 'sig\":\"') WHERE seq > :seq"
        connection.execute(text(back), {"seq": COUNT})
        connection.execute(text("DELETE FROM audit_anchor WHERE seq = :seq"), {"seq": COUNT})
    finding = verified(written).finding
    assert finding is not None
    assert (finding.damage, finding.seq) == (Damage.ANCHORS, COUNT + 3)


def test_every_single_row_of_a_chain_can_be_neither_changed_nor_removed_nor_moved(sqlite_engine: Engine) -> None:
    """Of each place in turn: the damage is named at that place."""
    write_entries(sqlite_engine, 30)
    for place in range(1, 31):
        for damage in ("edit", "cut"):
            with database_administrator(sqlite_engine) as connection, connection.begin_nested() as point:
                if damage == "edit":
                    change(connection, place, target="elsewhere")
                else:
                    remove(connection, place, place)
                rows = connection.execute(text("SELECT count(*) FROM audit_entry")).scalar_one()
                assert rows == (30 if damage == "edit" else 29)
                finding = _found_on(connection)
                assert finding == place, (damage, place)
                point.rollback()


def _found_on(connection: Connection) -> int:
    with Session(connection) as session:
        head = AuditRepository(session, "default").head()
    assert head is not None
    rows = chain(connection)
    found = verify(lambda seq: (row for row in rows if row.seq > seq), Check("default"), (head.seq, head.row_hash))
    assert found is not None
    return found.seq


def _renumber(connection: Connection, to: str, where: str) -> None:
    """In two steps: SQLite looks at the uniqueness of each row at once."""
    for sets, which in ((f"-({to})", where), ("-seq", "seq < 0")):
        statement = f"UPDATE audit_entry SET seq = {sets} WHERE {which} AND tenant_id = 'default'"  # noqa: S608 - written above
        connection.execute(text(statement))


def _json(data: object) -> str:
    return json.dumps(data)


def _copy(connection: Connection, of: int, to: int) -> None:
    columns = "at, actor, action, target, data, aside, prev_hash, row_hash"
    copied = (
        f"INSERT INTO audit_entry (tenant_id, seq, {columns}) SELECT tenant_id, :to, {columns} "  # noqa: S608 - our own
        "FROM audit_entry WHERE seq = :of AND tenant_id = 'default'"
    )
    connection.execute(text(copied), {"of": of, "to": to})
