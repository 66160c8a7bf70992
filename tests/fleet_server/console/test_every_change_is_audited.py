"""Whatever changes something leaves an entry in the audit: every unsafe route of the API and the console is tried."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.testclient import TestClient

from fleet_server.audit.anchoring import AnchorService
from fleet_server.audit.anchors import PUBLIC, SEED, anchor_public_keys, ensure_anchor_key, sign_head
from fleet_server.audit.checking import Check
from fleet_server.audit.keeping import verify_database
from fleet_server.audit.service import AuditFilter, AuditService
from fleet_server.auth.accounts import Accounts
from fleet_server.auth.roles import Role
from fleet_server.auth.secret_box import new_key_line
from fleet_server.db import reading, transaction
from fleet_server.kit.times import utc_now
from fleet_server.signer.keys import load_key
from protocol.executions import ExecutionState
from tests.fleet_server.auth.people import code_of
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import PASSWORD, device_id
from tests.fleet_server.console.history import run_id
from tests.fleet_server.console.test_demo_panel import Simulators, simulators
from tests.fleet_server.console.test_doors import csrf_of
from tests.fleet_server.console.test_people_pages import code_in
from tests.fleet_server.console.test_words import written_deeds
from tests.fleet_server.factories import TENANT, actor
from tests.fleet_server.routes import routes_of

NEW = "violet-harbour-anvil-92"
TILL = device_id("till_one")
SITE = "s-petrol-0000"
NEW_SITE = {
    "merchant_id": "898330158120001",
    "merchant_name_zh": "面馆",
    "merchant_name_en": "Noodles",
    "name_zh": "总店",
    "name_en": "Main",
    "timezone": "Asia/Shanghai",
}
QUEUED = run_id(ExecutionState.QUEUED)
# Changes nothing that counts: a secret that nobody believes before its first code, which is an entry.
CHANGE_NOTHING = {
    ("POST", "/second-factor/begin"),
    ("POST", "/inspections/preview"),
    ("POST", "/api/v1/inspections/preview"),
}
INSPECTION = {"name": "nightly", "checks": "clock.read", "days": "1", "at": "02:00"}
CHECKED: dict[str, Any] = {"name": "nightly", "checks": ["clock.read"]}

TOMORROW = (utc_now() + timedelta(days=1)).date().isoformat()
__all__ = ["simulators"]


@dataclass(frozen=True)
class World:
    """Somebody with every right, signed in, and how to do more."""

    app: FastAPI
    engine: Engine
    browser: Browser
    client: TestClient

    def post(self, path: str, client: TestClient | None = None, **values: str) -> Any:
        by = client or self.client
        return by.post(path, data={"csrf": csrf_of(by), **values})

    def api(self, path: str, body: Any, method: str = "POST") -> Any:
        with transaction(self.engine) as session:
            token = Accounts(session, actor(Role.OPERATOR), utc_now()).issue_token("program", Role.OPERATOR)
        return self.client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})

    def actions(self) -> list[str]:
        with reading(self.engine) as session:
            return [line.action for line in AuditService(session, TENANT).page(AuditFilter(), None, 200).items]


def sign_in(world: World) -> Any:
    return world.browser().post("/sign-in", data={"name": "viewer", "password": PASSWORD})


def set_up(world: World) -> Any:
    code = code_in(world.post("/people", name="wang.fang", role="viewer").text)
    return world.browser().post("/set-up", data={"name": "wang.fang", "code": code, "new": NEW, "again": NEW})


def enrolled(world: World) -> tuple[str, Any]:
    """The secret of a second factor that the operator has just set up."""
    world.post("/step-up", proof=PASSWORD)
    world.post("/second-factor/begin")
    html = world.client.get("/second-factor").text
    secret = "".join(re.findall(r"<code>([A-Z2-7]{4})</code>", html))
    return secret, world.post("/second-factor", code=code_of(secret, utc_now(), steps=-1))


def give_code(world: World) -> Any:
    secret, _ = enrolled(world)
    client = world.browser()
    answer = client.post("/sign-in", data={"name": "operator", "password": PASSWORD})
    html = client.get(answer.headers["location"]).text
    token = re.search(r'name="csrf" value="([^"]+)"', html)
    assert token is not None
    return client.post("/sign-in/code", data={"csrf": token[1], "code": code_of(secret, utc_now())})


def arrange(world: World) -> Any:
    return world.post("/inspections", None, **INSPECTION)


def walk(world: World) -> Any:
    return world.post(f"/devices/{TILL}/playbooks/clock_wrong")


def arranged(world: World) -> tuple[str, Any]:
    answer = world.api("/api/v1/inspections", CHECKED)
    return answer.json()["id"], answer


def frozen(world: World) -> tuple[str, Any]:
    until = (utc_now() + timedelta(hours=8)).isoformat()
    answer = world.api("/api/v1/freezes", {"reason": "National Day", "to": until})
    return answer.json()["id"], answer


def assign(world: World) -> Any:
    return world.post("/assignments", technician="technician", device=TILL, first=TOMORROW, last=TOMORROW)


def assigned(world: World) -> tuple[str, Any]:
    until = (utc_now() + timedelta(hours=8)).isoformat()
    answer = world.api("/api/v1/assignments", {"assignee": "technician", "device": TILL, "to": until})
    return answer.json()["id"], answer


def resume(world: World) -> Any:
    inspection, _ = arranged(world)
    world.api(f"/api/v1/inspections/{inspection}/pause", None)
    return world.api(f"/api/v1/inspections/{inspection}/resume", None)


def add_anchor(world: World) -> Any:
    keys_dir: Path = world.app.state.settings.keys_dir
    ensure_anchor_key(keys_dir)
    with reading(world.engine) as session:
        head = AnchorService(session, TENANT).head()
    check = Check(TENANT, seq=head.seq, row_hash=head.row_hash)
    envelope = sign_head(check, None, load_key(keys_dir / SEED), utc_now()).envelope
    return world.api("/api/v1/audit/anchors", {"envelope": envelope})


DEEDS: dict[tuple[str, str], tuple[Callable[[World], Any], str]] = {
    ("POST", "/sign-in"): (sign_in, "sign_in"),
    ("POST", "/sign-in/code"): (give_code, "sign_in"),
    ("POST", "/sign-out"): (lambda world: world.post("/sign-out"), "sign_out"),
    ("POST", "/set-up"): (set_up, "password_set"),
    ("POST", "/step-up"): (lambda world: world.post("/step-up", proof=PASSWORD), "step_up"),
    ("POST", "/second-factor"): (lambda world: enrolled(world)[1], "second_factor_set"),
    ("POST", "/preferences"): (lambda world: world.post("/preferences", language="en"), "preferences_set"),
    ("POST", "/account/password"): (
        lambda world: world.post("/account/password", current=PASSWORD, new=NEW, again=NEW),
        "password_set",
    ),
    ("POST", "/account/sessions/end"): (lambda world: world.post("/account/sessions/end"), "sessions_ended"),
    ("POST", "/people"): (lambda world: world.post("/people", name="wang.fang", role="viewer"), "person_added"),
    ("POST", "/people/{person_id}/{deed}"): (
        lambda world: world.post("/people/u-viewer/disable"),
        "person_disabled",
    ),
    ("POST", "/personal-data/find"): (
        lambda world: world.post("/personal-data/find", how="person", q="viewer"),
        "personal_looked_for",
    ),
    ("POST", "/personal-data/export"): (
        lambda world: world.post("/personal-data/export", how="person", q="viewer", which="person:u-viewer"),
        "personal_exported",
    ),
    ("POST", "/personal-data/erase"): (
        lambda world: world.post("/personal-data/erase", how="person", q="viewer", which="person", sure="on"),
        "personal_erasure_asked",
    ),
    ("POST", "/sites/{site_id}"): (
        lambda world: world.post(f"/sites/{SITE}", contact_name="王小明", phone="13812345678"),
        "site_changed",
    ),
    ("POST", "/sites/{site_id}/open"): (lambda world: world.post(f"/sites/{SITE}/open"), "personal_opened"),
    ("POST", "/api/v1/sites/{site_id}/open"): (
        lambda world: world.api(f"/api/v1/sites/{SITE}/open", None),
        "personal_opened",
    ),
    ("PATCH", "/api/v1/sites/{site_id}"): (
        lambda world: world.api(f"/api/v1/sites/{SITE}", {"phone": "13812345678"}, "PATCH"),
        "site_changed",
    ),
    ("POST", "/api/v1/sites"): (lambda world: world.api("/api/v1/sites", NEW_SITE), "site_added"),
    ("POST", "/api/v1/sites/export"): (lambda world: world.api("/api/v1/sites/export", None), "sites_exported"),
    ("POST", "/api/v1/sites/import"): (
        lambda world: world.api("/api/v1/sites/import", {"csv": f"id,phone\n{SITE},13812345678\n"}),
        "sites_imported",
    ),
    ("PUT", "/api/v1/devices/{device_id}/site"): (
        lambda world: world.api(f"/api/v1/devices/{TILL}/site", {"site": SITE}, "PUT"),
        "device_moved",
    ),
    ("POST", "/devices/{device_id}/runs"): (
        lambda world: world.post(f"/devices/{TILL}/runs", action="clock.read"),
        "execution_requested",
    ),
    ("POST", "/runs/{run_id}/cancel"): (lambda world: world.post(f"/runs/{QUEUED}/cancel"), "execution_cancelled"),
    ("POST", "/demo/break"): (
        lambda world: world.post("/demo/break", device="till", fault="clock_drift"),
        "demo_break",
    ),
    ("POST", "/demo/mend"): (lambda world: world.post("/demo/mend", device="till"), "demo_mend"),
    ("POST", "/api/v1/executions"): (
        lambda world: world.api("/api/v1/executions", {"device": TILL, "action": "clock.read"}),
        "execution_requested",
    ),
    ("POST", "/api/v1/executions/{execution_id}/cancel"): (
        lambda world: world.api(f"/api/v1/executions/{QUEUED}/cancel", None),
        "execution_cancelled",
    ),
    ("POST", "/freezes"): (
        lambda world: world.post("/freezes", first=TOMORROW, last=TOMORROW, reason="National Day"),
        "freeze_declared",
    ),
    ("POST", "/freezes/{freeze_id}/end"): (
        lambda world: world.post(f"/freezes/{frozen(world)[0]}/end"),
        "freeze_ended",
    ),
    ("POST", "/api/v1/freezes"): (lambda world: frozen(world)[1], "freeze_declared"),
    ("POST", "/api/v1/freezes/{freeze_id}/end"): (
        lambda world: world.api(f"/api/v1/freezes/{frozen(world)[0]}/end", None),
        "freeze_ended",
    ),
    ("POST", "/assignments"): (assign, "assignment_made"),
    ("POST", "/assignments/{assignment_id}/end"): (
        lambda world: world.post(f"/assignments/{assigned(world)[0]}/end"),
        "assignment_ended",
    ),
    ("POST", "/api/v1/assignments"): (lambda world: assigned(world)[1], "assignment_made"),
    ("POST", "/api/v1/assignments/{assignment_id}/end"): (
        lambda world: world.api(f"/api/v1/assignments/{assigned(world)[0]}/end", None),
        "assignment_ended",
    ),
    ("POST", "/devices/{device_id}/playbooks/{playbook}"): (walk, "playbook_started"),
    ("POST", "/walks/{walk_id}/cancel"): (
        lambda world: world.post(f"{walk(world).headers['location']}/cancel"),
        "playbook_cancelled",
    ),
    ("POST", "/api/v1/playbook-runs"): (
        lambda world: world.api("/api/v1/playbook-runs", {"device": TILL, "playbook": "clock_wrong"}),
        "playbook_started",
    ),
    ("POST", "/api/v1/playbook-runs/{walk_id}/cancel"): (
        lambda world: world.api(
            f"/api/v1/playbook-runs/{walk(world).headers['location'].rpartition('/')[2]}/cancel", None
        ),
        "playbook_cancelled",
    ),
    ("POST", "/inspections"): (arrange, "inspection_made"),
    ("POST", "/inspections/{inspection_id}/change"): (
        lambda world: world.post(f"{arrange(world).headers['location']}/change", None, version="1", **INSPECTION),
        "inspection_changed",
    ),
    ("POST", "/inspections/{inspection_id}/pause"): (
        lambda world: world.post(f"{arrange(world).headers['location']}/pause"),
        "inspection_paused",
    ),
    ("POST", "/inspections/{inspection_id}/resume"): (
        lambda world: (
            world.post(f"/inspections/{resume(world).json()['id']}/pause")
            and world.post(f"/inspections/{resume(world).json()['id']}/resume")
        ),
        "inspection_resumed",
    ),
    ("POST", "/inspections/{inspection_id}/end"): (
        lambda world: world.post(f"{arrange(world).headers['location']}/end"),
        "inspection_ended",
    ),
    ("POST", "/api/v1/inspections"): (lambda world: arranged(world)[1], "inspection_made"),
    ("PUT", "/api/v1/inspections/{inspection_id}"): (
        lambda world: world.api(f"/api/v1/inspections/{arranged(world)[0]}", {**CHECKED, "version": 1}, "PUT"),
        "inspection_changed",
    ),
    ("POST", "/api/v1/inspections/{inspection_id}/pause"): (
        lambda world: world.api(f"/api/v1/inspections/{arranged(world)[0]}/pause", None),
        "inspection_paused",
    ),
    ("POST", "/api/v1/inspections/{inspection_id}/resume"): (resume, "inspection_resumed"),
    ("POST", "/api/v1/inspections/{inspection_id}/end"): (
        lambda world: world.api(f"/api/v1/inspections/{arranged(world)[0]}/end", None),
        "inspection_ended",
    ),
    ("POST", "/api/v1/audit/anchors"): (add_anchor, "audit_anchored"),
}

# What people sign, and devices ask for, needs terminals and keys, which stand in tests of their own: here only that the
# words which these routes write down are written at all.
SIGNED: dict[tuple[str, str], str] = {
    ("POST", "/api/v1/approvals/{execution_id}/break-glass"): "break_glass_used",
    ("POST", "/api/v1/approvals/{execution_id}/refuse"): "execution_refused",
    ("POST", "/api/v1/approvals/{execution_id}/signatures"): "execution_approved",
    ("POST", "/api/v1/executions/{execution_id}/consent"): "consent_given",
    ("POST", "/runs/{run_id}/consent"): "consent_given",
    ("POST", "/api/v1/permits"): "permit_added",
    ("POST", "/api/v1/permits/{permit_id}/withdraw"): "permit_withdrawn",
    ("POST", "/api/v1/signing/lift"): "signing_lift",
    ("POST", "/api/v1/enrolments"): "enrolment_codes_made",
    ("POST", "/api/v1/enrolments/pallet"): "enrolment_codes_made",
    ("POST", "/api/v1/enrolments/{enrolment_id}/approve"): "enrolment_approved",
    ("POST", "/api/v1/enrolments/{enrolment_id}/refuse"): "enrolment_refused",
    ("POST", "/api/v1/enrolments/{enrolment_id}/withdraw"): "enrolment_code_withdrawn",
    ("POST", "/api/v1/devices/{device_id}/retirement"): "device_retired",
    ("POST", "/devices/{device_id}/retirement"): "device_retired",
    ("POST", "/enrolment/codes"): "enrolment_codes_made",
    ("POST", "/enrolment/{enrolment_id}/approve"): "enrolment_approved",
    ("POST", "/enrolment/{enrolment_id}/refuse"): "enrolment_refused",
    ("POST", "/enrolment/{enrolment_id}/withdraw"): "enrolment_code_withdrawn",
    ("POST", "/enrol/v1/requests"): "device_enrolled",
    ("POST", "/enrol/v1/renewals"): "certificate_renewed",
    ("POST", "/api/v1/signing/stop"): "signing_stop",
    ("POST", "/signing/stop"): "signing_stop",
    ("POST", "/api/v1/visits"): "visit_begun",
    ("POST", "/tenants/{tenant_id}/visit"): "visit_begun",
    ("POST", "/visit/end"): "visit_ended",
    ("POST", "/signing/permits/{permit_id}/withdraw"): "permit_withdrawn",
}


@pytest.fixture
def world(browser: Browser, console_app: FastAPI, console_engine: Engine, simulators: Simulators) -> World:
    settings = replace(console_app.state.settings)
    settings.people_key.parent.mkdir(parents=True, exist_ok=True)
    settings.people_key.write_text(new_key_line(), "ascii")
    return World(console_app, console_engine, browser, browser("operator", language="en"))


def test_no_unsafe_route_is_without_a_deed_here(console_app: FastAPI) -> None:
    unsafe = {one for one in routes_of(console_app) if one[0] not in {"GET", "HEAD", "OPTIONS"}}
    assert unsafe == set(DEEDS) | set(SIGNED) | CHANGE_NOTHING


def test_what_people_sign_is_written_down_by_its_word() -> None:
    assert set(SIGNED.values()) <= set(written_deeds())


@pytest.mark.parametrize("route", DEEDS, ids=str)
def test_each_change_leaves_its_entry(world: World, route: tuple[str, str]) -> None:
    deed, action = DEEDS[route]
    before = world.actions().count(action)
    answer = deed(world)
    assert answer.status_code in {200, 201, 303}, answer.text
    assert world.actions().count(action) > before
    ensure_anchor_key(world.app.state.settings.keys_dir)
    keys = anchor_public_keys(world.app.state.settings.keys_dir / PUBLIC)
    assert verify_database(world.engine, TENANT, keys).finding is None
