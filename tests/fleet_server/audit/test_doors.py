"""The audit through its doors: read, filtered, taken away, anchored; and each of these is in it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fleet_server.audit.anchors import PUBLIC, SEED, Keys, anchor_public_keys, ensure_anchor_key, sign_head
from fleet_server.audit.files import read_rows
from fleet_server.audit.keeping import verify_database
from fleet_server.audit.outside import verify_file
from fleet_server.audit.remote import anchor
from fleet_server.audit.service import record
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from protocol.signing import SigningKey
from tests.fleet_server.api import Api, bearer, running_api
from tests.support.audit_rig import change, database_administrator, person, write_entries


@pytest.fixture
def api(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(sqlite_engine, tmp_path) as running:
        (tmp_path / "server" / "keys").mkdir(parents=True)
        ensure_anchor_key(tmp_path / "server" / "keys")
        write_entries(sqlite_engine, 30)
        write_entries(sqlite_engine, 3, "other")
        yield running


def exported(api: Api, folder: Path, **params: object) -> Path:
    answer = api.get("/api/v1/audit/export", "operator", **params)
    assert answer.status_code == 200
    path = folder / "audit.jsonl"
    path.write_bytes(answer.content)
    return path


def test_reading_filters_pages_and_is_written_down(api: Api) -> None:
    first = api.get("/api/v1/audit", "operator", limit=2, action="done").json()
    assert [line["seq"] for line in first["items"]] == [30, 29]
    again = api.get("/api/v1/audit", "operator", limit=2, action="done", cursor=first["next"]).json()
    assert [line["seq"] for line in again["items"]] == [28, 27]
    one = api.get("/api/v1/audit", "operator", target="d-7", **{"from": "2026-03-02T12:00:00Z"}).json()["items"]
    assert [line["seq"] for line in one] == [8]
    assert api.get("/api/v1/audit", "operator", to="2026-03-02T12:00:02Z").json()["items"][0]["seq"] == 2
    newest = api.get("/api/v1/audit", "operator").json()["items"]
    assert [line["action"] for line in newest[:5]] == ["audit_read"] * 5
    assert newest[4]["data"] == {"action": "done"}


def test_what_is_beside_an_entry_is_shown_to_those_who_may_see_it(api: Api) -> None:
    for caller, expected in (("support", {"address": "10.0.0.1"}), ("auditor", {})):
        (line,) = api.get("/api/v1/audit", caller, target="d-7").json()["items"]
        assert line["personal"] == expected


@pytest.mark.parametrize(
    ("caller", "read", "export"), [("viewer", 403, 403), ("support", 200, 403), ("auditor", 200, 200)]
)
def test_who_may_read_and_who_may_take_away(api: Api, caller: str, read: int, export: int) -> None:
    assert api.get("/api/v1/audit", caller).status_code == read
    for path in ("export", "head", "anchors"):
        assert api.get(f"/api/v1/audit/{path}", caller).status_code == export, path


def test_an_export_holds_without_the_database_and_damage_in_it_is_found(api: Api, tmp_path: Path) -> None:
    path = exported(api, tmp_path)
    outcome = verify_file(path, Keys.of(), [], lambda _: None)
    assert outcome.finding is None
    # Its own entry is written before its first row.
    assert outcome.check.seq == 31
    lines = path.read_text("utf-8").splitlines()
    for damaged, expected in (
        ([*lines[:6], lines[6].replace("done", "gone"), *lines[7:]], ("edited", 7)),
        (lines[:6] + lines[7:], ("cut", 7)),
        ([*lines[:6], lines[7], lines[6], *lines[8:]], ("reordered", 7)),
        ([*lines[:6], lines[5], *lines[6:]], ("inserted", 6)),
        (lines[9:], ("cut", 1)),
    ):
        path.write_text("\n".join(damaged) + "\n", "utf-8")
        found = verify_file(path, Keys.of(), [], lambda _: None).finding
        assert found is not None
        assert (found.damage, found.seq) == expected


def test_an_auditors_export_has_no_addresses_and_holds_all_the_same(api: Api, tmp_path: Path) -> None:
    answer = api.get("/api/v1/audit/export", "auditor")
    assert "10.0.0.1" not in answer.text
    path = tmp_path / "auditor.jsonl"
    path.write_bytes(answer.content)
    assert verify_file(path, Keys.of(), [], lambda _: None).finding is None


def test_cells_of_a_table_are_no_formulas(api: Api) -> None:
    with transaction(api.engine) as session:
        record(session, person(), "=cmd", "@SUM(A1)", {"=1+1": "-2"}, personal={"note": "\t=1"})
    text = api.get("/api/v1/audit/export", "operator", format="csv").text
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0][:5] == ["seq", "at", "who", "action", "target"]
    row = next(row for row in rows if row[3].endswith("=cmd"))
    assert (row[3], row[4]) == ("'=cmd", "'@SUM(A1)")
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row)


def test_an_anchor_signed_elsewhere_is_taken_when_it_fits(api: Api, tmp_path: Path) -> None:
    api.client.headers.update(bearer("operator"))
    key_file = tmp_path / "server" / "keys" / SEED
    signed = anchor(api.client, key_file, tmp_path / "elsewhere", utc_now())
    assert signed is not None
    listed = api.get("/api/v1/audit/anchors", "operator").json()["items"]
    assert [one["envelope"] for one in listed] == [signed.envelope]
    assert [path.name for path in (tmp_path / "elsewhere" / "default").iterdir()] == [f"{utc_now():%Y-%m-%d}.json"]
    again = anchor(api.client, key_file, tmp_path / "elsewhere", utc_now())
    assert again is not None
    assert again.statement.previous == signed.digest
    keys = anchor_public_keys(tmp_path / "server" / "keys" / PUBLIC)
    assert verify_database(api.engine, "default", keys).finding is None


def test_an_anchor_is_not_signed_elsewhere_for_a_past_that_was_changed(api: Api, tmp_path: Path) -> None:
    api.client.headers.update(bearer("operator"))
    key_file = tmp_path / "server" / "keys" / SEED
    assert anchor(api.client, key_file, tmp_path / "elsewhere", utc_now())
    write_entries(api.engine, 5)
    with database_administrator(api.engine) as connection:
        change(connection, 34, action="nothing_happened")
    from fleet_server.audit.errors import AuditBroken

    with pytest.raises(AuditBroken, match="entry 34, edited"):
        anchor(api.client, key_file, tmp_path / "elsewhere", utc_now())


def test_a_forged_anchor_is_refused(api: Api, tmp_path: Path) -> None:
    from fleet_server.audit.checking import Check

    stranger = SigningKey.from_seed(b"s" * 32)
    own = SigningKey.from_seed(bytes.fromhex((tmp_path / "server" / "keys" / SEED).read_text().strip()))
    for key, row_hash in ((stranger, "0" * 64), (own, "0" * 64)):
        check = Check("default", seq=5, row_hash=row_hash)
        envelope = sign_head(check, None, key, utc_now()).envelope
        answer = api.post("/api/v1/audit/anchors", {"envelope": envelope}, "operator")
        assert (answer.status_code, answer.json()["code"]) == (409, "anchor_refused")
    assert api.post("/api/v1/audit/anchors", {"envelope": "{}"}, "operator").status_code == 409
    assert json.loads(api.get("/api/v1/audit/anchors", "operator").text)["items"] == []


def test_a_file_that_is_no_export_is_refused_with_its_line(tmp_path: Path) -> None:
    from fleet_server.audit.errors import ExportUnreadable

    path = tmp_path / "no.jsonl"
    path.write_text('{"tenant": 1}\n')
    with pytest.raises(ExportUnreadable, match="line 1"):
        list(read_rows(path)(0))
