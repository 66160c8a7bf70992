"""What the matrix of routes does not try: cursors, keys, files and streams of one tenant in the hands of another, and
forged ones in anybody's.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.auth.roles import Role
from fleet_server.db import reading, transaction
from fleet_server.executions.models import Execution
from fleet_server.faults.models import Fault
from fleet_server.ingest.models import DeadLetter
from fleet_server.kit.pagination import encode_cursor
from fleet_server.kit.times import utc_now
from fleet_server.timeline.writer import NewEvent, append_events
from tests.fleet_server.factories import device, site
from tests.fleet_server.health.test_export import store
from tests.fleet_server.two_tenants import OURS, SECRET, THEIRS, Two, add_token, bearer, two_tenants
from tests.fleet_server.waiting_rows import new_assignment, new_enrolment, new_freeze, new_permit, new_retired

RANGE = {"from": "2026-01-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"}
EXECUTIONS = "/api/v1/executions"


@pytest.fixture(name="two")
def _two(engine: Engine, tmp_path: Path) -> Iterator[Two]:
    with two_tenants(engine, tmp_path) as two:
        yield two


def get(two: Two, path: str, tenant: str, **params: Any) -> Any:
    return two.client.get(path, params=params, headers=bearer(tenant, "operator"))


def lists_with_cursors(two: Two) -> list[str]:
    """By the document of the API: with what is in their paths left open."""
    return [
        path
        for path, methods in two.app.openapi()["paths"].items()
        if any(one["name"] == "cursor" for one in methods.get("get", {}).get("parameters", ()))
    ]


def two_of_everything(two: Two) -> None:
    """So that each list has a second page."""
    now = utc_now()
    for tenant, fleet in ((OURS, two.ours), (THEIRS, two.theirs)):
        word = SECRET if tenant == OURS else "harmless"
        with transaction(two.engine) as session:
            session.add(site(f"s-more-{tenant}", tenant, name_en=word))
            session.add(
                Fault(
                    id=f"f2-{tenant}", tenant_id=tenant, device_id=fleet.terminal, code="zvt.LINE", severity="minor",
                    raised_ms=1, raised_at=now, last_seen_at=now, is_open=True, evidence=word,
                )
            )  # fmt: skip
            session.add(
                DeadLetter(
                    tenant_id=tenant, link_id=fleet.gateway, topic_kind="urgent", reason="not_decodable", detail=word,
                    payload=b"x", received_at=now,
                )
            )  # fmt: skip
            session.flush()
            append_events(session, tenant, [NewEvent(fleet.terminal, "note", now, {"text": word}, actor=word)], now)
        for _ in range(2):
            two.new_walk(tenant)
            new_assignment(two.engine, tenant, fleet.terminal)
            new_permit(two.engine, tenant)
            new_freeze(two.engine, tenant)
            new_retired(two.engine, tenant, fleet.site)
            new_enrolment(two.engine, tenant, fleet.site, "pending")


def path_of(two: Two, path: str, tenant: str) -> str:
    fleet = two.ours if tenant == OURS else two.theirs
    inspection = two.inspections["active"]
    return path.format(device_id=fleet.terminal, inspection_id=inspection, date="2026-03-02")


def test_a_cursor_of_one_tenant_shows_another_only_its_own(two: Two) -> None:
    two_of_everything(two)
    followed, wrong = 0, []
    for path in lists_with_cursors(two):
        first = get(two, path_of(two, path, OURS), OURS, limit=1)
        cursor = first.json()["next"]
        if cursor is None:
            continue
        followed += 1
        if SECRET not in get(two, path_of(two, path, OURS), OURS, limit=200, cursor=cursor).text:
            wrong.append(f"{path}: the second page of its own is empty, so nothing is shown by this test")
        answer = get(two, path_of(two, path, THEIRS), THEIRS, limit=200, cursor=cursor)
        if answer.status_code not in {200, 404, 422} or SECRET in answer.text or "d-one-" in answer.text:
            wrong.append(f"{path}: {answer.status_code} {answer.text[:300]}")
    assert followed >= 7
    assert not wrong, "\n".join(wrong)


_PARTS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just("\0"), st.just(-(2**70)), st.just(2**70)
)
_FORGED = st.one_of(
    st.lists(_PARTS, max_size=3).map(lambda parts: encode_cursor(*parts)),
    st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()),
    st.text(max_size=60),
    st.just(base64.urlsafe_b64encode(b"[" * 300).decode()[:400]),
    st.just(base64.urlsafe_b64encode(json.dumps({"a": 1}).encode()).decode()),
)


@given(forged=_FORGED)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_forged_cursor_is_refused_or_shows_ones_own_and_never_breaks_anything(two: Two, forged: str) -> None:
    for path in lists_with_cursors(two):
        answer = get(two, path_of(two, path, THEIRS), THEIRS, cursor=forged)
        assert answer.status_code in {200, 404, 422}, (path, forged, answer.text)
        assert SECRET not in answer.text


def test_a_cursor_that_was_cut_is_refused_or_shows_ones_own(two: Two) -> None:
    two_of_everything(two)
    whole = get(two, "/api/v1/devices", OURS, limit=1).json()["next"]
    for length in range(1, len(whole)):
        answer = get(two, "/api/v1/devices", THEIRS, cursor=whole[:length])
        assert answer.status_code in {200, 422}
        assert SECRET not in answer.text


def test_pages_take_no_forged_cursor_either(two: Two) -> None:
    cookie, _ = two.session_of(THEIRS, Role.OPERATOR)
    for path in ("/", "/runs", "/fleet/rows", "/assignments", f"/devices/{two.theirs.terminal}/inspections"):
        for forged in (encode_cursor(2**70, "\0"), encode_cursor("\0"), encode_cursor(2**70), "W10", "%00"):
            answer = two.client.get(path, params={"cursor": forged}, headers=cookie)
            assert answer.status_code in {200, 422}, (path, forged, answer.status_code)
            assert SECRET not in answer.text


def ask(two: Two, tenant: str, name: str, key: str, device_id: str) -> Any:
    body = {"device": device_id, "action": "agent.echo", "params": {}}
    return two.client.post(EXECUTIONS, json=body, headers={**bearer(tenant, name), "Idempotency-Key": key})


def test_a_key_of_another_tenant_or_person_is_a_key_of_ones_own(two: Two) -> None:
    ours = ask(two, OURS, "support", "the-key", two.ours.terminal)
    assert ours.status_code == 201
    with transaction(two.engine) as session:
        add_token(session, OURS, "second", Role.SUPPORT)
    colleague = ask(two, OURS, "second", "the-key", two.ours.terminal)
    theirs = ask(two, THEIRS, "support", "the-key", two.theirs.terminal)
    for answer in (colleague, theirs):
        assert answer.status_code == 201, answer.text
    assert len({one.json()["id"] for one in (ours, colleague, theirs)}) == 3
    assert theirs.json()["device"] == two.theirs.terminal
    # Nor does it tell whether somebody else used it for something else.
    assert ask(two, THEIRS, "support", "the-key", two.ours.terminal).json()["code"] in {
        "device_not_found", "idempotency_key_reused",
    }  # fmt: skip
    assert ask(two, THEIRS, "viewer", "the-key", two.theirs.terminal).status_code == 403
    with reading(two.engine) as session:
        asked = session.exec(select(Execution).where(Execution.action == "agent.echo")).all()
    assert len([one for one in asked if one.id in {ours.json()["id"], theirs.json()["id"]}]) == 2


def export(two: Two, tenant: str, **more: str) -> Any:
    return two.client.get("/api/v1/health/export", params={**RANGE, **more}, headers=bearer(tenant, "operator"))


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_an_export_holds_ones_own_devices_whatever_is_asked_for(two: Two, file_format: str) -> None:
    for tenant, fleet in ((OURS, two.ours), (THEIRS, two.theirs)):
        store(two.engine, fleet.terminal, tenant, blocks=1)
    assert devices_in(export(two, OURS, format=file_format), file_format) == {two.ours.terminal}
    assert devices_in(export(two, THEIRS, format=file_format), file_format) == {two.theirs.terminal}
    for level in ("5min", "hour", "day"):
        answer = export(two, THEIRS, format=file_format, level=level)
        assert devices_in(answer, file_format) <= {two.theirs.terminal}
    assert export(two, THEIRS, format=file_format, device=two.ours.terminal).status_code == 404
    assert devices_in(export(two, THEIRS, format=file_format, site=two.ours.site), file_format) == set()


def devices_in(answer: Any, file_format: str) -> set[str]:
    assert answer.status_code == 200, answer.text
    if file_format == "parquet":
        table = pq.read_table(io.BytesIO(answer.content))
        return set(table.column("device").to_pylist())
    head, *rows = answer.text.splitlines()
    place = head.lstrip("\ufeff").split(",").index("device")
    return {row.split(",")[place] for row in rows}


def test_dead_letters_are_of_ones_own_links_by_list_by_cursor_and_one_by_one(two: Two) -> None:
    two_of_everything(two)
    for tenant, other in ((OURS, two.theirs), (THEIRS, two.ours)):
        for params in ({}, {"cursor": encode_cursor(2**62)}, {"limit": 200}):
            answer = get(two, "/api/v1/dead-letters", tenant, **params)
            assert answer.status_code == 200
            assert answer.json()["items"]
            assert other.gateway not in answer.text


def test_a_search_finds_nothing_of_another_tenant_by_number_name_value_or_guess(two: Two) -> None:
    with transaction(two.engine) as session:
        session.add(device("d-one-more", two.ours.site, OURS, serial_number="PS00471103", serial_tail="471103"))
    for q in (SECRET, "SND-ONE-TERMINAL", "471103", "PS00471103", "02155550101", "王小明", two.ours.terminal, "%", "_"):
        answer = get(two, "/api/v1/devices", THEIRS, q=q)
        assert answer.status_code == 200
        assert "d-one-" not in answer.text, q
    for where in ("batt.level_pct<20", "batt.level_pct=11.5", "batt.level_pct>0"):
        assert "d-one-" not in get(two, "/api/v1/devices", THEIRS, where=where).text
    assert get(two, "/api/v1/devices", OURS, where="batt.level_pct<20").json()["items"]
    assert get(two, "/api/v1/devices", THEIRS, site=two.ours.site).json()["items"] == []
    distribution = get(two, "/api/v1/health/distribution", THEIRS, metric="batt.level_pct", site=two.ours.site)
    assert distribution.json()["devices"] == 0


def test_a_stream_that_resumes_by_another_tenants_event_hears_its_own_only(two: Two) -> None:
    with transaction(two.engine) as session:
        newest = append_events(
            session, OURS, [NewEvent(two.ours.terminal, "note", utc_now(), {"text": SECRET})], utc_now()
        )[-1]
    for number in (0, newest - 1, newest, 2**62):
        for path in ("/api/v1/events", f"/api/v1/devices/{two.theirs.terminal}/events"):
            headers = {**bearer(THEIRS, "viewer"), "Last-Event-ID": str(number)}
            answer = two.client.get(path, headers=headers)
            assert answer.status_code == 200
            assert SECRET not in answer.text
        foreign = f"{EXECUTIONS}/{two.runs[OURS, 'check']}/events"
        assert two.client.get(foreign, headers={**bearer(THEIRS, "viewer"), "Last-Event-ID": "0"}).status_code == 404
