from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import col, update

from fleet_server.approvals.models import Approval
from fleet_server.approvals.page import files
from fleet_server.approvals.page.files import SCRIPTS, STATIC, PageFileChanged, load_files
from fleet_server.approvals.page.sessions import HEADER
from fleet_server.auth.dependencies import passwords
from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.second_factor import SecondFactors
from fleet_server.auth.secret_box import new_key_line
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from protocol.authorisations import Allowed, judge
from protocol.signing import SigningKey
from tests.fleet_server.api import OTHER_TENANT, Api, running_api
from tests.fleet_server.auth.people import code_of
from tests.fleet_server.executions.conftest import COMMAND_KEY
from tests.fleet_server.factories import TENANT
from tests.fleet_server.routes import routes_of
from tests.support.approval_page import PASSWORD, add_page_people, page_app, page_settings, signature_by
from tests.support.signing import policy_of, signer_with

URL = "http://approve.example:9"
CONSOLE = "http://127.0.0.1:1"
MEI, WU, LIN, STRANGER = (SigningKey.from_seed(seed * 32) for seed in (b"m", b"w", b"l", b"x"))
APPROVERS = [("mei", MEI), ("wu", WU), ("support", LIN)]


@dataclass
class Page:
    api: Api
    app: FastAPI
    client: TestClient
    session: str = ""

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers={HEADER: self.session, **headers})

    def post(self, path: str, body: Any, origin: str | None = URL, **headers: str) -> Any:
        named = {} if origin is None else {"Origin": origin}
        return self.client.post(path, json=body, headers={HEADER: self.session, **named, **headers})

    def sign_in(self, name: str, password: str = PASSWORD) -> Any:
        answer = self.post("/session", {"name": name, "password": password})
        self.session = answer.json().get("session", "")
        return answer

    def ask(self, action: str = "app.restart") -> str:
        answer = self.api.post("/api/v1/executions", {"device": self.api.fleet.terminal, "action": action})
        return str(answer.json()["id"])

    def sign(self, execution: str, key: SigningKey = MEI, of: str = "") -> Any:
        document = self.get(f"/waiting/{of or execution}").json()["document_base64"]
        return self.post(f"/waiting/{execution}/signature", signature_by(key, document))

    def state(self, execution: str) -> str:
        return str(self.api.get(f"/api/v1/executions/{execution}").json()["state"])


@pytest.fixture
def page(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Page]:
    yield from opened(sqlite_engine, tmp_path)


def opened(engine: Engine, folder: Path) -> Iterator[Page]:
    signer = signer_with(COMMAND_KEY, APPROVERS)
    with running_api(engine, folder, signer) as api:
        add_page_people(engine)
        app = page_app(engine, page_settings(folder, URL), signer)
        with TestClient(app, base_url=URL, raise_server_exceptions=False) as client:
            yield Page(api, app, client)


def test_an_approver_signs_and_the_scheduler_has_a_command_that_terminals_obey(engine: Engine, tmp_path: Path) -> None:
    for page in opened(engine, tmp_path):
        execution = page.ask()
        page.sign_in("mei")
        listed = page.get("/waiting").json()
        assert (listed["person"], listed["may_decide"], listed["keys"]) == ("mei", True, [MEI.id])
        assert [one["execution"] for one in listed["items"]] == [execution]
        assert page.sign(execution).json() == {"state": "QUEUED"}
        with transaction(engine) as session:
            now = utc_now() + timedelta(minutes=1)
            taken = page.api.app.state.dispatcher.take_overdue(session, TENANT, now)
        page.api.app.state.outbound.publish(taken.outgoing, [])
        [(_, command)] = page.api.broker.commands()
        assert command.authorisation is not None
        judged = judge(command.authorisation, command, policy_of(COMMAND_KEY, APPROVERS), command.issued_at_ms)
        assert isinstance(judged, Allowed)
        assert (judged.people, command.execution) == (("mei",), execution)


def test_a_refusal_ends_what_waits(page: Page) -> None:
    execution = page.ask()
    page.sign_in("mei")
    assert page.post(f"/waiting/{execution}/refusal", {"reason": "not today"}).json() == {"state": "CANCELLED"}
    assert page.get("/waiting").json()["items"] == []


def test_only_the_signed_in_persons_own_key_over_these_very_bytes_is_taken(page: Page) -> None:
    execution, other = page.ask(), page.ask("printer.print_test")
    page.sign_in("mei")
    for key, of in ((STRANGER, execution), (WU, execution), (COMMAND_KEY, execution), (MEI, other)):
        assert page.sign(execution, key, of).json()["code"] == "signature_refused"
    assert page.state(execution) == "AWAITING_APPROVAL"


def test_whoever_asked_does_not_approve(page: Page) -> None:
    execution = page.ask()
    with transaction(page.api.engine) as session:
        session.execute(update(User).where(col(User.name) == "support").values(role="approver"))
    page.sign_in("support")
    assert page.sign(execution, LIN).json()["code"] == "approver_is_requester"
    assert page.state(execution) == "AWAITING_APPROVAL"


def test_a_document_that_was_changed_after_it_was_shown_is_not_the_one_that_was_signed(page: Page) -> None:
    execution = page.ask()
    page.sign_in("mei")
    shown = page.get(f"/waiting/{execution}").json()["document_base64"]
    with transaction(page.api.engine) as session:
        swapped = base64.b64decode(shown).decode().replace("app.restart", "printer.print_test")
        session.execute(update(Approval).values(payload=swapped))
    answer = page.post(f"/waiting/{execution}/signature", signature_by(MEI, shown))
    assert answer.json()["code"] == "signature_refused"


def test_a_decision_is_taken_once(page: Page) -> None:
    execution, other = page.ask(), page.ask()
    page.sign_in("mei")
    body = signature_by(MEI, page.get(f"/waiting/{execution}").json()["document_base64"])
    assert page.post(f"/waiting/{execution}/signature", body).status_code == 200
    assert page.post(f"/waiting/{execution}/signature", body).json()["code"] == "approval_not_found"
    assert page.post(f"/waiting/{other}/signature", body).json()["code"] == "signature_refused"


@pytest.mark.parametrize("deed", ["signature", "refusal"])
def test_a_decision_needs_a_fresh_proof(page: Page, deed: str) -> None:
    execution = page.ask()
    page.sign_in("mei")
    document = page.get(f"/waiting/{execution}").json()["document_base64"]
    bodies: dict[str, Any] = {"signature": signature_by(MEI, document), "refusal": {"reason": "not today"}}
    with transaction(page.api.engine) as session:
        session.execute(update(LoginSession).values(stepped_up_at=utc_now() - timedelta(minutes=6)))
    refused = page.post(f"/waiting/{execution}/{deed}", bodies[deed])
    assert (refused.status_code, refused.json()["code"]) == (403, "step_up_needed")
    assert page.state(execution) == "AWAITING_APPROVAL"
    assert page.post("/session/proof", {"proof": "wrong"}).json()["code"] == "not_signed_in"
    page.session = page.post("/session/proof", {"proof": PASSWORD}).json()["session"]
    assert page.post(f"/waiting/{execution}/{deed}", bodies[deed]).status_code == 200


@pytest.mark.parametrize(("person", "reads"), [("support", 200), ("viewer", 403)])
def test_roles_without_the_right_do_not_decide(page: Page, person: str, reads: int) -> None:
    execution = page.ask()
    page.sign_in(person)
    assert page.get("/waiting").status_code == reads
    assert page.post(f"/waiting/{execution}/refusal", {"reason": "not today"}).json()["code"] == "role_too_low"


def test_every_route_but_the_files_and_the_sign_in_needs_a_session_and_every_one_this_origin(page: Page) -> None:
    execution = page.ask()
    open_to_all = {"/", "/approve.css", "/approve.js", "/words.js", "/session"}
    routes = list(routes_of(page.app))
    assert len(routes) == len(open_to_all) + 7
    for method, path in routes:
        place, came = path.replace("{execution_id}", execution), {"Origin": CONSOLE, "Sec-Fetch-Site": "cross-site"}
        assert (path, page.client.request(method, place, json={}, headers=came).status_code) == (path, 403)
        if path not in open_to_all:
            answer = page.client.request(method, place, json=None if method == "GET" else {}, headers={"Origin": URL})
            assert (path, answer.status_code) == (path, 401)


def test_an_approver_of_another_tenant_neither_sees_nor_decides(page: Page) -> None:
    execution = page.ask()
    page.sign_in("mei")
    body = signature_by(MEI, page.get(f"/waiting/{execution}").json()["document_base64"])
    with transaction(page.api.engine) as session:
        session.execute(update(User).where(col(User.name) == "wu").values(tenant_id=OTHER_TENANT))
    page.sign_in("wu")
    assert page.get("/waiting").json()["items"] == []
    assert page.get(f"/waiting/{execution}").json()["code"] == "approval_not_found"
    for deed, sent in (("signature", body), ("refusal", {"reason": "not today"})):
        assert page.post(f"/waiting/{execution}/{deed}", sent).status_code == 404
    assert page.state(execution) == "AWAITING_APPROVAL"


@pytest.mark.parametrize("origin", [CONSOLE, "null", "https://approve.example:9", None])
def test_nothing_is_posted_from_another_origin(page: Page, origin: str | None) -> None:
    execution = page.ask()
    page.sign_in("mei")
    refused = page.post(f"/waiting/{execution}/refusal", {"reason": "not today"}, origin)
    assert (refused.status_code, refused.json()["code"]) == (403, "request_forged")
    assert page.post("/session", {"name": "mei", "password": PASSWORD}, origin).status_code == 403
    assert page.state(execution) == "AWAITING_APPROVAL"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_opens_the_page_in_a_window_and_gets_nothing_else(page: Page, site: str) -> None:
    page.sign_in("mei")
    came: dict[str, str] = {"Sec-Fetch-Site": site}
    assert page.get("/", **came, **{"Sec-Fetch-Dest": "document"}).status_code == 200
    for path, kind in (("/", "iframe"), ("/waiting", "document"), ("/approve.js", "script"), ("/waiting", "empty")):
        assert page.get(path, **came, **{"Sec-Fetch-Dest": kind}).json()["code"] == "request_forged"
    assert page.get("/waiting", Host="elsewhere.example").json()["code"] == "request_forged"


def test_a_session_of_the_console_opens_nothing_here_nor_does_a_cookie_or_a_token(page: Page) -> None:
    page.api.app.dependency_overrides[passwords] = Passwords.cheap
    form = {"name": "mei", "password": PASSWORD}
    page.api.client.post("/sign-in", data=form, headers={"Origin": CONSOLE}, follow_redirects=False)
    session, mark = (page.api.client.cookies[name] for name in ("tillmedic", "tillmedic-known"))
    tried = [secret for cookie in (session, mark) for secret in (cookie, f"{cookie}.", f"{cookie}.{'0' * 64}")]
    for secret in (*tried, ""):
        page.session = secret
        assert page.get("/waiting").json()["code"] == "not_signed_in"
        assert page.get("/waiting", Cookie=f"tillmedic={session}; tillmedic-known={mark}").status_code == 401
        assert page.get("/waiting", Authorization="Bearer tm_approver").status_code == 401


def test_no_answer_sets_a_cookie_or_lets_another_origin_read(page: Page) -> None:
    answers = [page.sign_in("mei"), page.get("/waiting"), page.get("/"), page.get("/nothing")]
    for answer in answers:
        assert {"set-cookie", "access-control-allow-origin"}.isdisjoint(answer.headers)
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert re.findall(r"script-src ([^;]*)", policy) == [
            " ".join(f"'sha256-{base64.b64encode(bytes.fromhex(one)).decode()}'" for one in SCRIPTS.values())
        ]
    asked = page.client.options("/waiting", headers={"Origin": CONSOLE, "Access-Control-Request-Method": "GET"})
    assert (asked.status_code, "access-control-allow-origin" in asked.headers) == (405, False)


def test_the_second_factor_is_asked_for(page: Page) -> None:
    secret = set_up_second_factor(page, "mei")
    assert page.sign_in("mei").json()["needs_code"] is True
    assert page.get("/waiting").json()["code"] == "not_signed_in"
    assert page.post("/session/code", {"proof": "000000"}).json()["code"] == "not_signed_in"
    done = page.post("/session/code", {"proof": code_of(secret, utc_now())}).json()
    page.session = done["session"]
    assert (done["needs_code"], page.get("/waiting").status_code) == (False, 200)


def set_up_second_factor(page: Page, name: str) -> str:
    """With the code of the step before, so that the present one is still good."""
    key_file = page.api.app.state.settings.people_key
    key_file.parent.mkdir(exist_ok=True)
    key_file.write_text(new_key_line(), "ascii")
    factors, now = SecondFactors(key_file), utc_now()
    with transaction(page.api.engine) as session:
        repository = AuthRepository(session)
        person = repository.lock_person(name)
        assert person is not None
        factors.begin(person)
        begun = factors.begun(person)
        assert begun is not None
        assert factors.confirm(repository, person, code_of(begun.secret, now, steps=-1), now)
    return begun.secret


def test_the_scripts_are_those_that_the_program_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in STATIC.glob("*.js")}
    assert found == SCRIPTS
    for path in STATIC.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "approve.js").write_bytes((STATIC / "approve.js").read_bytes() + b"\n")
    monkeypatch.setattr(files, "STATIC", tmp_path)
    with pytest.raises(PageFileChanged, match=r"approve\.js: expected SHA-256"):
        load_files()


def test_signing_out_ends_the_session(page: Page) -> None:
    page.sign_in("mei")
    assert page.post("/session/end", {}).status_code == 204
    assert page.get("/waiting").status_code == 401
