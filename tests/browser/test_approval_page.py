"""The approval page in a real browser: a key is made, what waits is shown and signed, and attacks on it fail."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import Engine, func
from sqlmodel import col, update

from fleet_server.approvals.models import Approval
from fleet_server.auth.models import LoginSession, User
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from fleet_server.signer.messages import NewPolicy
from fleet_server.signer.service import Signer
from protocol import codec
from protocol.authorisations import Allowed, judge
from protocol.commands import Command
from protocol.signing import POLICY_TYPE, Approver, SigningKey, sign
from tests.browser.conftest import SCREENSHOTS
from tests.browser.test_accessibility import violations
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.executions.conftest import COMMAND_KEY
from tests.fleet_server.factories import TENANT
from tests.support.approval_page import PASSWORD, add_page_people, page_app, page_settings
from tests.support.chromium import PATIENCE_MS
from tests.support.engines import migrated_sqlite, sqlite_engine
from tests.support.signing import ROOT_KEY, signer_with
from tests.support.wire_agent import until


@dataclass
class Rig:
    url: str
    console: str
    api: Api
    signer: Signer
    browser: Browser

    @property
    def engine(self) -> Engine:
        return self.api.engine

    def ask(self, action: str = "app.restart") -> str:
        answer = self.api.post("/api/v1/executions", {"device": self.api.fleet.terminal, "action": action})
        return str(answer.json()["id"])

    def state(self, execution: str) -> str:
        return str(self.api.get(f"/api/v1/executions/{execution}").json()["state"])

    def name_in_policy(self, person: str, public: str) -> None:
        """As the root's ceremony does it."""
        present = self.signer.policy(utc_now())
        wanted = msgspec.structs.replace(
            present, version=present.version + 1, approvers=[*present.approvers, Approver(person, public)]
        )
        envelope = codec.to_json(sign(POLICY_TYPE, codec.to_json(wanted), [ROOT_KEY])).decode()
        self.signer.take_policy(NewPolicy(envelope), utc_now())


@pytest.fixture
def rig(chromium: Browser, tmp_path: Path) -> Iterator[Rig]:
    template = migrated_sqlite(tmp_path)
    signer = signer_with(COMMAND_KEY, [("wu", SigningKey.from_seed(b"w" * 32))])
    with sqlite_engine(template, tmp_path) as engine, running_api(engine, tmp_path, signer) as api:
        add_page_people(engine)
        with listening() as (_, console), serving(engine, tmp_path, signer) as url:
            yield Rig(url, console, api, signer, chromium)


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        yield port, f"http://127.0.0.1:{port.getsockname()[1]}"


@contextmanager
def serving(engine: Engine, folder: Path, signer: Signer) -> Iterator[str]:
    with listening() as (port, url):
        app = page_app(engine, page_settings(folder, url), signer)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [port]}, daemon=True)
        thread.start()
        until(lambda: server.started, "the approval page")
        yield url
        server.should_exit = True
        thread.join(20)


@contextmanager
def window(rig: Rig, language: str = "en", path: str = "/", scheme: str = "light") -> Iterator[Page]:
    context = rig.browser.new_context(
        locale=language, base_url=rig.url, color_scheme="dark" if scheme == "dark" else "light"
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(path)
    yield page
    context.close()


def sign_in(page: Page, name: str = "mei") -> None:
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("#sign-in button")
    page.wait_for_selector("#desk:not([hidden])")


def make_key(rig: Rig, page: Page, name: str = "mei") -> str:
    page.click("#make-key")
    public = page.locator("#key-facts dd").first
    public.wait_for()
    rig.name_in_policy(name, public.inner_text())
    page.click("#again")
    expect(page.locator("#key-standing")).to_have_text("The policy names this key.")
    return public.inner_text()


def choose(page: Page, execution: str) -> None:
    page.click("#again")
    page.click(f"button[data-execution='{execution}']")
    page.wait_for_selector("#detail:not([hidden])")


def change_document(rig: Rig, old: str, new: str) -> None:
    """What somebody does who has the database."""
    with transaction(rig.engine) as session:
        session.execute(update(Approval).values(payload=func.replace(Approval.payload, old, new)))


def sent(rig: Rig) -> Command:
    """What the scheduler sends of it."""
    with transaction(rig.engine) as session:
        taken = rig.api.app.state.dispatcher.take_overdue(session, TENANT, utc_now() + timedelta(minutes=1))
    rig.api.app.state.outbound.publish(taken.outgoing, [])
    [(_, command)] = rig.api.broker.commands()
    return command


def test_a_key_made_in_the_browser_signs_what_was_shown_and_the_judge_allows_it(rig: Rig) -> None:
    execution = rig.ask()
    with window(rig, path=f"/#{execution}") as page:
        sign_in(page)
        public = make_key(rig, page)
        assert page.evaluate("key.pair.privateKey.extractable") is False
        assert page.evaluate("crypto.subtle.exportKey('pkcs8', key.pair.privateKey).then(() => '', (e) => e.name)")
        shown = dict(zip(*(page.locator(f"#facts {part}").all_inner_texts() for part in ("dt", "dd")), strict=True))
        assert (shown["Asked by"], shown["Device"], shown["Execution"]) == (
            "support",
            rig.api.fleet.terminal,
            execution,
        )
        assert shown["Action and parameters"] == "app.restart\nno parameters"
        assert shown["Class"].startswith("1 ")
        page.click("#sign")
        expect(page.locator("#notice")).to_have_text("Decided. The execution is now QUEUED")
    command = sent(rig)
    assert command.authorisation is not None
    judged = judge(command.authorisation, command, rig.signer.policy(utc_now()), command.issued_at_ms)
    assert isinstance(judged, Allowed)
    assert judged.people == ("mei",)
    assert public in {one.public for one in rig.signer.policy(utc_now()).approvers}


def test_the_key_stays_when_the_page_is_left_and_is_the_persons_own(rig: Rig) -> None:
    with window(rig) as page:
        sign_in(page)
        public = make_key(rig, page)
        page.reload()
        sign_in(page)
        assert page.locator("#key-facts dd").first.inner_text() == public
        page.click("#sign-out")
        sign_in(page, "wu")
        expect(page.locator("#key-standing")).to_have_text("This browser has no key of yours.")


def test_a_document_swapped_between_showing_and_signing_is_noticed(rig: Rig) -> None:
    execution = rig.ask()
    with window(rig) as page:
        sign_in(page)
        make_key(rig, page)
        choose(page, execution)
        change_document(rig, "app.restart", "printer.print_test")
        page.click("#sign")
        expect(page.locator("#notice")).to_contain_text("The signature was refused")
        assert rig.state(execution) == "AWAITING_APPROVAL"
        choose(page, execution)
        expect(page.locator("#facts")).to_contain_text("printer.print_test")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"max_count":1', '"max_count":100'),
        ('"kind":"approval"', '"kind":"shift_permit"'),
        ('"params":{}', '"params":{"code":12345678901234567890}'),
        ('"action":"app.restart"', '"action":"app.restart","action":"printer.print_test"'),
        ('"max_count":1', '"max_count":1,"more":true'),
        ('{"id"', ' {"id"'),
    ],
)
def test_what_cannot_be_shown_in_one_way_only_is_not_signed(rig: Rig, old: str, new: str) -> None:
    execution = rig.ask()
    change_document(rig, old, new)
    with window(rig) as page:
        sign_in(page)
        make_key(rig, page)
        choose(page, execution)
        expect(page.locator("#detail-problem")).to_contain_text("This cannot be shown exactly")
        expect(page.locator("#sign")).to_be_disabled()


def test_what_cannot_be_seen_is_named_and_nothing_is_taken_for_markup(rig: Rig) -> None:
    execution = rig.ask()
    change_document(rig, '"requester":"support"', '"requester":"<img src=x>\u202etroppus"')
    with window(rig) as page:
        sign_in(page)
        choose(page, execution)
        expect(page.locator("#facts")).to_contain_text("<img src=x>⟨U+202E⟩troppus")
        assert page.locator("img").count() == 0
        assert page.evaluate("(() => { try { document.body.innerHTML = '<b>'; } catch (e) { return e.name; } })()")


def test_the_requester_cannot_sign_the_own_wish(rig: Rig) -> None:
    execution = rig.ask()
    with transaction(rig.engine) as session:
        session.execute(update(User).where(col(User.name) == "support").values(role="approver"))
    with window(rig) as page:
        sign_in(page, "support")
        make_key(rig, page, "support")
        choose(page, execution)
        expect(page.locator("#detail-problem")).to_contain_text("You asked for this yourself")
        expect(page.locator("#sign")).to_be_disabled()
        page.evaluate("document.getElementById('sign').disabled = false")
        page.click("#sign")
        expect(page.locator("#notice")).to_have_text("Whoever asks does not approve.")
    assert rig.state(execution) == "AWAITING_APPROVAL"


def test_a_decision_that_is_played_again_changes_nothing(rig: Rig) -> None:
    execution = rig.ask()
    with window(rig) as page:
        sign_in(page)
        make_key(rig, page)
        choose(page, execution)
        with page.expect_request("**/signature") as caught:
            page.click("#sign")
        expect(page.locator("#notice")).to_contain_text("Decided")
        again = page.evaluate(
            "(body) => ask(`/waiting/${body.id}/signature`, JSON.parse(body.sent)).catch((error) => error.code)",
            {"id": execution, "sent": caught.value.post_data},
        )
    assert again == "approval_not_found"


def test_after_five_minutes_a_decision_asks_who_it_is_first(rig: Rig) -> None:
    execution = rig.ask()
    with window(rig) as page:
        sign_in(page)
        make_key(rig, page)
        choose(page, execution)
        with transaction(rig.engine) as session:
            session.execute(update(LoginSession).values(stepped_up_at=utc_now() - timedelta(minutes=6)))
        page.click("#sign")
        page.fill("#proof", PASSWORD)
        assert rig.state(execution) == "AWAITING_APPROVAL"
        page.click("#proof-form button")
        expect(page.locator("#notice")).to_contain_text("Decide again")
        page.click("#sign")
        expect(page.locator("#notice")).to_contain_text("Decided")


def test_a_taken_over_console_can_neither_frame_the_page_nor_post_to_it_nor_read_it(rig: Rig) -> None:
    execution = rig.ask()
    with window(rig) as page:
        sign_in(page)
        stolen, said = page.evaluate("session"), list[str]()
        evil = page.context.new_page()
        evil.route(f"{rig.console}/**", lambda route: route.fulfill(content_type="text/html", body="<h1>console</h1>"))
        evil.goto(rig.console)
        # As if the server answered frames too: the browser alone has to refuse.
        whole = page.request.get(rig.url)
        assert "sign-in" in whole.text()
        evil.route(f"{rig.url}/", lambda route: route.fulfill(response=whole))
        evil.on("console", lambda message: said.append(message.text))
        evil.evaluate(_FRAME, rig.url)
        assert evil.frames[1].locator("#sign-in").count() == 0
        assert any("frame-ancestors" in one for one in said), said
        for mode in ("cors", "no-cors"):
            answers = evil.evaluate(
                _POST, {"url": f"{rig.url}/waiting/{execution}/refusal", "mode": mode, "secret": stolen}
            )
            assert answers in {"TypeError", "opaque"}
        read = evil.evaluate(
            "(url) => fetch(url).then((one) => one.text(), (error) => error.name)", f"{rig.url}/waiting"
        )
        assert read == "TypeError"
    assert rig.state(execution) == "AWAITING_APPROVAL"


_FRAME = """(url) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.src = url;
  frame.onload = () => resolve();
  document.body.append(frame);
})"""
_POST = """({ url, mode, secret }) => fetch(url, {
  method: "POST", mode, credentials: "include", body: JSON.stringify({ reason: "not today" }),
  headers: mode === "cors" ? { "Content-Type": "application/json", "X-Approval-Session": secret } : {},
}).then((one) => one.type, (error) => error.name)"""


@pytest.mark.parametrize("name", ["approve.js", "words.js"])
def test_a_script_that_was_changed_on_its_way_does_not_run(rig: Rig, name: str) -> None:
    def changed(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text() + "\nwindow.planted = true;")

    with window(rig) as page:
        assert page.locator("h1").inner_text() == "Approvals"
        page.route(f"**/{name}", changed)
        page.reload()
        assert page.evaluate("window.planted") is None
        assert page.locator("h1").inner_text() == ""


def test_a_script_that_is_put_into_the_page_does_not_run(rig: Rig) -> None:
    def with_more(route: Route) -> None:
        answer = route.fetch()
        more = "<script>window.planted = true</script><script src='data:text/javascript,window.planted=true'></script>"
        route.fulfill(response=answer, body=answer.text().replace("<main>", f"{more}<main>"))

    with window(rig) as page:
        page.route(f"{rig.url}/", with_more)
        page.reload()
        assert page.locator("body > script").count() == 2
        assert page.evaluate("window.planted") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("language", "title"), [("zh-CN", "审批"), ("en", "Approvals")])
def test_the_page_is_accessible_in_both_languages(rig: Rig, language: str, title: str, scheme: str) -> None:
    execution = rig.ask()
    with window(rig, language, scheme=scheme) as page:
        assert page.locator("h1").inner_text() == title
        assert violations(page, []) == []
        sign_in(page)
        page.click("#make-key")
        choose(page, execution)
        assert violations(page, []) == []
        page.screenshot(path=SCREENSHOTS / f"approvals-{language}-{scheme}.png", full_page=True)
        page.set_viewport_size({"width": 360, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.click("#language")
        assert page.locator("h1").inner_text() != title
