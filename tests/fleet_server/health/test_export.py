"""What an export holds: everything of the range, once, in both formats, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, select
from typer.testing import CliRunner

from fleet_server.__main__ import make_app
from fleet_server.audit.models import AuditEntry
from fleet_server.db import reading, transaction
from fleet_server.health import export
from fleet_server.health.apply import HealthReport, apply_health
from fleet_server.health.export import HealthExport, Wanted
from fleet_server.health.export_answer import MAX_AT_ONCE
from fleet_server.health.rollups import Level
from fleet_server.kit.times import to_ms
from protocol.records import HealthColumns
from protocol.shown_text import cell
from tests.fleet_server.api import OTHER_TENANT, Api, running_api
from tests.fleet_server.factories import NOON, TENANT

MINUTE = timedelta(minutes=1)
RANGE = {"from": NOON.isoformat(), "to": (NOON + timedelta(hours=2)).isoformat()}


def store(engine: Engine, device: str, tenant: str, *, blocks: int, state: str = "idle") -> None:
    reports = []
    for seq in range(blocks):
        start_at = NOON + seq * 10 * MINUTE
        columns: dict[str, list[float | int | str | None]] = {
            "batt.level_pct": [50 + seq, None, 52.5],
            "net.rtt_ms": [-1, 2, 3],
            "sys.state": [state, None, state],
        }
        body = HealthColumns(to_ms(start_at), 60_000, 3, columns)
        reports.append(HealthReport(device, "smart", device, "2" * 32, seq + 1, start_at, body))
    with transaction(engine) as session:
        apply_health(session, tenant, reports, NOON + timedelta(days=1))


@pytest.fixture
def api(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    # More pieces than one of everything.
    monkeypatch.setattr(export, "BLOCKS", 4)
    monkeypatch.setattr(export, "_DEVICES", 1)
    with running_api(engine, tmp_path) as running:
        store(engine, running.fleet.terminal, TENANT, blocks=9, state="=HYPERLINK(1)")
        store(engine, running.fleet.gateway, TENANT, blocks=1)
        store(engine, "d-two-terminal", OTHER_TENANT, blocks=1)
        yield running


def rows(api: Api, **params: str) -> list[dict[str, str]]:
    answer = api.get("/api/v1/health/export", **RANGE, **params)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_every_sample_of_the_range_is_there_once_device_by_device(api: Api) -> None:
    found = rows(api)
    assert {row["device"] for row in found} == {api.fleet.terminal, api.fleet.gateway}
    # Of each block two levels, three round trips and two states.
    assert len(found) == 10 * 7
    assert len({tuple(row.values()) for row in found}) == len(found)
    keys = [(row["device"], row["at"]) for row in found if row["device"] == api.fleet.terminal]
    assert keys == sorted(keys)
    first = next(row for row in found if row["device"] == api.fleet.gateway)
    assert first["at"] == "2026-03-02T12:00:00.000Z"


def test_a_range_a_device_and_a_metric_narrow_it(api: Api) -> None:
    until = (NOON + 11 * MINUTE).isoformat()
    answer = api.get(
        "/api/v1/health/export",
        **{"from": (NOON + MINUTE).isoformat(), "to": until},
        device=api.fleet.terminal,
        metrics="batt.level_pct",
    )
    found = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["at"][11:16], row["value"]) for row in found] == [("12:02", "52.5"), ("12:10", "51")]


def test_a_text_that_looks_like_a_formula_is_made_cell_and_a_number_stays_one(api: Api) -> None:
    found = rows(api, device=api.fleet.terminal)
    assert {row["text"] for row in found if row["metric"] == "sys.state"} == {"'=HYPERLINK(1)"}
    assert "-1" in {row["value"] for row in found if row["metric"] == "net.rtt_ms"}
    assert [cell(text) for text in ("+1", "-1", "@x", "\t=1", "ok")] == ["'+1", "'-1", "'@x", "'\\u0009=1", "ok"]


def test_parquet_holds_the_same_rows(api: Api) -> None:
    answer = api.get("/api/v1/health/export", **RANGE, format="parquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    table = pq.read_table(io.BytesIO(answer.content)).to_pylist()
    plain = rows(api)
    assert [(row["device"], row["metric"], row["at"].strftime("%H:%M")) for row in table] == [
        (row["device"], row["metric"], row["at"][11:16]) for row in plain
    ]
    assert [row["value"] for row in table] == [float(row["value"]) if row["value"] else None for row in plain]
    assert {row["text"] for row in table} == {None, "=HYPERLINK(1)", "idle"}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_rollup_is_exported_bucket_by_bucket(api: Api, form: str) -> None:
    answer = api.get("/api/v1/health/export", **RANGE, level="hour", device=api.fleet.terminal, format=form)
    if form == "csv":
        found = [dict(row) for row in csv.DictReader(io.StringIO(answer.text))]
    else:
        found = pq.read_table(io.BytesIO(answer.content)).to_pylist()
    levels = [one for one in found if one["metric"] == "batt.level_pct"]
    numbers = [(float(one["mean"]), float(one["low"]), float(one["high"]), int(one["count"])) for one in levels]
    assert numbers == [(52.5, 50, 55, 12), (54.75, 52.5, 58, 6)]


def test_an_export_is_in_the_audit_and_refusals_are_not(api: Api) -> None:
    rows(api)
    assert api.get("/api/v1/health/export", **RANGE, device="d-two-terminal").status_code == 404
    assert api.client.get("/api/v1/health/export", params=RANGE).status_code == 401
    with reading(api.engine) as session:
        entries = session.execute(select(AuditEntry).where(AuditEntry.action == "health_exported")).scalars().all()  # type: ignore[arg-type]  # SQLModel types columns as their values
    assert [(one.actor, one.data["level"], one.data["format"]) for one in entries] == [("support", "samples", "csv")]


def test_only_some_exports_run_at_once(api: Api) -> None:
    for _ in range(MAX_AT_ONCE):
        assert api.app.state.exports.acquire(blocking=False)
    answer = api.get("/api/v1/health/export", **RANGE)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_exports")
    for _ in range(MAX_AT_ONCE):
        api.app.state.exports.release()
    assert rows(api)
    assert api.app.state.exports._value == MAX_AT_ONCE


def test_reports_of_the_same_instant_are_all_there_though_a_piece_ends_among_them(api: Api) -> None:
    at = NOON + timedelta(days=3)
    body = HealthColumns(to_ms(at), 60_000, 1, {"batt.level_pct": [50]})
    terminal = api.fleet.terminal
    reports = [HealthReport(terminal, "smart", terminal, "3" * 32, seq + 1, at, body) for seq in range(10)]
    with transaction(api.engine) as session:
        apply_health(session, TENANT, reports, NOON + timedelta(days=4))
    taken = HealthExport(api.engine, TENANT, Wanted(at, at + MINUTE, device=terminal))
    assert sum(len(piece) for piece in taken.pieces()) == 10


def test_pieces_are_bounded_whatever_the_range(api: Api) -> None:
    wanted = Wanted(NOON, NOON + timedelta(days=1), Level.FIVE_MINUTES)
    for chosen in (wanted, Wanted(NOON, NOON + timedelta(days=1))):
        taken = HealthExport(api.engine, TENANT, chosen)
        sizes = [len(piece) for piece in taken.pieces()]
        assert max(sizes) <= 4 * 9
        assert (taken.devices_done, taken.rows_done) == (taken.count_devices(), sum(sizes))


def test_the_command_writes_a_whole_file_or_none(tmp_path: Path) -> None:
    runner, app, out = CliRunner(), make_app(), tmp_path / "health.csv"
    data = tmp_path / "data"
    assert runner.invoke(app, ["init", "--data", str(data)]).exit_code == 0
    order = ["export", "health", "--from", "2026-03-01", "--to", "2026-03-02", "--data", str(data), "--out", str(out)]
    answer = runner.invoke(app, order)
    assert answer.exit_code == 0, answer.output
    assert out.read_bytes() == b"device,serial_number,metric,at,value,text\r\n"
    assert runner.invoke(app, order).exit_code != 0
    assert [one.name for one in tmp_path.iterdir() if "health" in one.name] == ["health.csv"]
