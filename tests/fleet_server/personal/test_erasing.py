"""Who is erased is searched for afterwards in every table and, byte by byte, in the files of the database."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update
from sqlmodel import col

from fleet_server.approvals.models import Approval, ShiftPermit
from fleet_server.auth.errors import NotOneself, PersonAboveYou
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading, transaction
from fleet_server.personal.erasing import Eraser, ask
from fleet_server.personal.errors import NothingAsked, StillNeeded
from fleet_server.personal.exporting import survey
from fleet_server.personal.ledger import Ledger
from fleet_server.personal.register import FIELDS, Erased
from fleet_server.personal.subjects import Kind, Subject, find_subjects
from fleet_server.postgres_programs import _address, _program
from tests.fleet_server.factories import TENANT
from tests.fleet_server.personal.planted import ALIKE, CALLED, LATER, SITE, STAFF, STAFF_ID, everything, needles, plant
from tests.support.audit_rig import verified

SYSTEM = Actor("", "system", Role.OPERATOR, TENANT, ActorKind.PERSON)
LABEL = f"erased-{STAFF_ID[-6:]}"


def found(engine: Engine, **asked: str) -> Subject:
    with reading(engine) as session:
        (subject,) = find_subjects(session, TENANT, LATER, **asked)
    return subject


def erase(engine: Engine, folder: Path, subject: Subject) -> Mapping[str, int]:
    with transaction(engine) as session:
        erasure = ask(session, SYSTEM, subject, LATER)
    return Eraser(engine, Ledger(folder / "erasures.jsonl"), lambda: LATER).finish(erasure.id, lambda _: None)


def files_of(engine: Engine, folder: Path) -> bytes:
    """Of SQLite the very bytes, log included; of PostgreSQL what pg_dump writes."""
    if engine.dialect.name == "sqlite":
        path = Path(engine.url.database or "")
        parts = [path, path.with_name(f"{path.name}-wal")]
        return b"".join(part.read_bytes() for part in parts if part.exists())
    url = engine.url.render_as_string(hide_password=False)
    command = [_program("pg_dump"), "--format=plain", f"--dbname={_address(url)}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def left(of: Mapping[str, str], data: bytes) -> list[bytes]:
    """Needles that are found, but for what is in the words of those who look alike."""
    for other in (ALIKE, "li.weiss", "王小明明", "\\u738b\\u5c0f\\u660e\\u660e", "138123456789"):
        data = data.replace(other.encode(), b"")
    return [needle for needle in needles(of) if needle in data]


@pytest.mark.parametrize("who", ["staff", "called"])
def test_who_is_erased_is_in_no_table_and_no_file_any_more(engine: Engine, tmp_path: Path, who: str) -> None:
    plant(engine)
    of = STAFF if who == "staff" else CALLED
    subject = found(engine, person=STAFF["name"]) if who == "staff" else found(engine, phone="+86 138-1234-5678")
    assert left(of, files_of(engine, tmp_path)), "what is planted is found by this search"
    counts = erase(engine, tmp_path, subject)
    assert counts
    assert survey(engine, subject) == {}
    assert left(of, repr(everything(engine)).encode()) == []
    assert left(of, files_of(engine, tmp_path)) == []
    assert left(of, (tmp_path / "erasures.jsonl").read_bytes()) == []
    assert verified(engine).finding is None


def test_history_keeps_its_shape_and_others_stay(engine: Engine, tmp_path: Path) -> None:
    plant(engine)
    before = {name: len(rows) for name, rows in everything(engine).items()}
    erase(engine, tmp_path, found(engine, person=STAFF["name"]))
    after = everything(engine)
    gone = {name for name, rows in after.items() if len(rows) < before[name]}
    assert gone == {
        "person", "login_session", "known_browser", "recovery_code", "oidc_link", "audit_aside", "dead_letter",
        "assignment",
    }  # fmt: skip
    assert [row["created_by"] for row in after["assignment"]] == [LABEL]
    (run,) = after["execution"]
    assert (run["actor"], run["cancel_asked_by"]) == (LABEL, LABEL)
    assert (run["state"], run["params"]["count"]) == ("SUCCEEDED", 3)
    assert ALIKE in run["detail"]
    first, second = sorted(after["event"], key=lambda row: row["id"])
    assert first["data"]["actor"] == LABEL
    assert first["data"]["approved_by"] == [LABEL]
    assert (first["data"]["state"], first["data"]["attempt"]) == ("SUCCEEDED", 1)
    assert (second["actor"], second["data"]["actor"]) == ("li.weiss", "li.weiss")
    assert after["shift_permit"][0]["people"] == f"chen.hao, {LABEL}"
    assert [row["name"] for row in after["person"]] == ["li.weiss"]
    assert {row["contact_name"] for row in after["site"]} == {CALLED["name"], "王小明明"}


def test_a_contact_goes_and_the_shop_stays(engine: Engine, tmp_path: Path) -> None:
    plant(engine)
    erase(engine, tmp_path, found(engine, name=CALLED["name"]))
    rows: dict[str, dict[str, Any]] = {row["id"]: row for row in everything(engine)["site"]}
    assert [rows[SITE][name] for name in ("contact_name", "phone", "address")] == ["", "", ""]
    assert rows[SITE]["merchant_name_zh"] == "[erased]面馆"
    assert rows["s-two-0002"]["phone"] == "138123456789"
    assert {row["name"] for row in everything(engine)["person"]} == {"li.wei", "li.weiss"}


def test_what_only_texts_say_goes_from_them(engine: Engine, tmp_path: Path) -> None:
    plant(engine, called={**CALLED, "phone": "13900001111"})
    erase(engine, tmp_path, found(engine, phone="13900001111"))
    with transaction(engine) as session:
        session.execute(update(ShiftPermit).values(reason="call 139-0000-1111, not 1390000111122"))
    subject = found(engine, phone="139 0000 1111")
    assert subject.kind is Kind.WORDS
    assert erase(engine, tmp_path, subject) == {"shift_permit": 1}
    assert everything(engine)["shift_permit"][0]["reason"] == "call [erased], not 1390000111122"


def test_before_it_is_done_everything_is_found_column_by_column(engine: Engine) -> None:
    plant(engine)
    named = {*survey(engine, found(engine, person=STAFF["name"])), *survey(engine, found(engine, name=CALLED["name"]))}
    expected = {field.name for field in FIELDS if field.table != "erasure"}
    # An address is found with its session, not where a device came from; texts are found where they mention somebody.
    assert expected - named == {"enrolment.address"}


def test_an_erasure_that_was_cut_short_goes_on_where_it_was(engine: Engine, tmp_path: Path) -> None:
    plant(engine)
    subject = found(engine, person=STAFF["name"])
    with transaction(engine) as session:
        erasure = ask(session, SYSTEM, subject, LATER)
    ledger = Ledger(tmp_path / "erasures.jsonl")
    first = Eraser(engine, ledger, lambda: LATER)
    for _ in range(6):
        assert first.step() is not None
    assert [line.id for line in ledger.lines()] == [erasure.id]
    another = Eraser(engine, ledger, lambda: LATER)
    while (progress := another.step()) is not None:
        last = progress
    assert last.is_done
    assert survey(engine, subject) == {}


def test_what_is_in_force_is_named_and_ended_first(engine: Engine) -> None:
    plant(engine)
    subject = found(engine, person=STAFF["name"])
    for table, values in ((ShiftPermit, {"not_after": LATER.replace(year=2099)}), (Approval, {"is_open": True})):
        with transaction(engine) as session:
            session.execute(update(table).values(**values))
        with transaction(engine) as session, pytest.raises(StillNeeded, match="end or withdraw"):
            ask(session, SYSTEM, subject, LATER)
    with transaction(engine) as session:
        session.execute(update(ShiftPermit).values(withdrawn_at=LATER))
        session.execute(update(Approval).values(is_open=False))
        ask(session, SYSTEM, subject, LATER)


def test_nobody_erases_himself_or_somebody_above_him(engine: Engine) -> None:
    plant(engine)
    subject = found(engine, person=STAFF["name"])
    for actor, error in (
        (Actor(STAFF_ID, "li.wei", Role.TENANT_ADMIN, TENANT, ActorKind.PERSON), NotOneself),
        (Actor("u-9", "chen.hao", Role.SUPPORT, TENANT, ActorKind.PERSON), PersonAboveYou),
    ):
        with transaction(engine) as session, pytest.raises(error):
            ask(session, actor, subject, LATER)


def test_one_of_three_ways_is_asked_for_and_a_number_is_a_number(engine: Engine) -> None:
    plant(engine)
    with reading(engine) as session:
        for asked in ({}, {"person": "a", "name": "b"}, {"phone": "12"}, {"phone": "li.wei"}):
            with pytest.raises(NothingAsked):
                find_subjects(session, TENANT, LATER, **asked)
        assert find_subjects(session, TENANT, LATER, person="nobody") == []
        assert find_subjects(session, "other", LATER, person=STAFF["name"]) == []


def test_signed_documents_are_blank_and_not_changed() -> None:
    """Of what is signed nothing can be left out: it goes whole."""
    assert {field.name for field in FIELDS if field.erased is Erased.SIGNED} == {
        "approval.payload",
        "shift_permit.envelope",
    }
    assert col(Approval.payload) is not None
