"""Entries join the chain of their tenant, whoever else writes at the same moment, and with their deed or not at all."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from fleet_server.audit.chain import GENESIS, ChainRow, commitment, plain
from fleet_server.audit.models import AuditAside, AuditEntry, AuditHead
from fleet_server.audit.service import record
from fleet_server.db import open_engine, reading, transaction
from fleet_server.timeline.writer import NewEvent, append_events
from tests.support.audit_rig import BEGAN_AT, person, verified, write_entries

TENANTS = ("default", "other", "third")
ROUNDS = 12


def test_a_hash_covers_the_row_and_the_one_before_it() -> None:
    """Worked out by hand with ``sha256sum`` from the form that the module's docstring states."""
    row = ChainRow("default", 1, 1_767_225_600_000_000, "system", "done", "d-1", {"b": 1, "a": "重"}, "", GENESIS, "")
    assert row.digest() == "4e1c6ecfccdf8354e2af12e7a595cfa793d6c7a518323452db106bc75168bdd2"


def test_a_chain_begins_at_one_and_each_entry_names_the_one_before(engine: Engine) -> None:
    write_entries(engine, 5)
    with reading(engine) as session:
        rows = session.exec(select(AuditEntry).order_by(text("seq"))).all()
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert [row.prev_hash for row in rows] == [GENESIS, *(row.row_hash for row in rows[:-1])]


def test_what_is_read_back_is_what_was_hashed(engine: Engine) -> None:
    data = {"float": 0.1, "big": 2**60, "none": None, "nested": {"z": [1, {"y": True}], "a": "\0"}, "é": "重"}
    with transaction(engine) as session:
        record(
            session,
            person(),
            "done",
            "d\0evice",
            data,
            personal={"note": "王"},
            now=datetime(1970, 1, 1, 0, 0, 0, 1, UTC),
        )
    assert verified(engine).finding is None
    with reading(engine) as session:
        (row,) = session.exec(select(AuditEntry)).all()
    assert row.target == "d\ufffdevice"


def test_a_deed_that_is_rolled_back_leaves_no_entry(engine: Engine) -> None:
    write_entries(engine, 2)
    with pytest.raises(RuntimeError):
        _fail_after_a_deed(engine)
    write_entries(engine, 1)
    outcome = verified(engine)
    assert (outcome.finding, outcome.check.seq) == (None, 3)


def test_an_entry_that_does_not_go_on_from_the_head_is_refused_by_the_database(engine: Engine) -> None:
    write_entries(engine, 2)
    forged: dict[str, Any] = {
        "tenant_id": "default",
        "at": BEGAN_AT,
        "actor": "system",
        "action": "done",
        "data": {},
        "row_hash": "1" * 64,
    }
    for seq, prev_hash in ((3, "0" * 64), (2, "0" * 64), (4, None)):
        with reading(engine) as session:
            follows = prev_hash or session.get_one(AuditHead, "default").row_hash
        entry = AuditEntry(**forged, seq=seq, prev_hash=follows)
        with pytest.raises(DBAPIError, match="goes on from the head"), transaction(engine) as session:
            session.add(entry)
    assert verified(engine).finding is None


def test_all_processes_that_write_at_once_make_one_chain_each_tenant(engine: Engine) -> None:
    """Each thread with connections of its own, several tenants a transaction, events and other rows in between."""
    barrier = threading.Barrier(4)

    def write(number: int) -> None:
        own, dice = open_engine(engine.url.render_as_string(hide_password=False)), random.Random(number)
        barrier.wait()
        try:
            for round_ in range(ROUNDS):
                with transaction(own) as session:
                    for tenant in dice.sample(TENANTS, dice.randint(1, 3)):
                        record(session, person(tenant, number), "done", f"d-{round_}", address="10.0.0.1")
                    if dice.random() < 0.5:
                        append_events(session, "default", [NewEvent("d-1", "note", BEGAN_AT, {})], BEGAN_AT)
        finally:
            own.dispose()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    written = 0
    for tenant in TENANTS:
        outcome = verified(engine, tenant)
        assert outcome.finding is None, outcome.finding
        written += outcome.check.seq
    with reading(engine) as session:
        assert len(session.exec(select(AuditEntry.id)).all()) == written > 4 * ROUNDS


@pytest.mark.parametrize("engine", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_who_appends_for_a_tenant_waits_only_from_the_commit_on(engine: Engine) -> None:
    """Two transactions with an entry each are open at once; the first to commit does not wait for the other."""
    with transaction(engine) as first:
        record(first, person(number=1), "first")
        first.execute(text("SELECT 1"))
        with transaction(engine) as second:
            record(second, person(number=2), "second")
    with reading(engine) as session:
        rows = session.exec(select(AuditEntry.action).order_by(text("seq"))).all()
    assert rows == ["second", "first"]


def test_what_is_beside_an_entry_can_go_and_the_chain_holds(engine: Engine) -> None:
    write_entries(engine, 3)
    with transaction(engine) as session:
        session.execute(text("DELETE FROM audit_aside WHERE seq = 2"))
    outcome = verified(engine)
    assert (outcome.finding, outcome.check.erased) == (None, 1)


def test_a_commitment_cannot_be_guessed_without_its_salt() -> None:
    document = {"address": "10.0.0.1"}
    assert commitment("a" * 32, document) != commitment("b" * 32, document)


def test_nul_is_replaced_wherever_it_stands() -> None:
    assert plain({"a\0": ["\0", {"b": "x\0"}]}) == {"a\ufffd": ["\ufffd", {"b": "x\ufffd"}]}


def test_people_are_named_by_reference_and_what_is_about_them_lies_beside(engine: Engine) -> None:
    with transaction(engine) as session:
        record(session, person(), "sign_in", address="10.0.0.1")
    with reading(engine) as session:
        row = session.exec(select(AuditEntry)).one()
        aside = session.exec(select(AuditAside)).one()
    assert row.actor == "person:u-1"
    assert "name-1" not in str(row.model_dump())
    assert aside.document == {"address": "10.0.0.1"}


def _fail_after_a_deed(engine: Engine) -> None:
    with transaction(engine) as session:
        record(session, person(), "done")
        raise RuntimeError
