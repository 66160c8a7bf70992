"""A page open in a real browser while PostgreSQL is killed and started again."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from fleet_server.app import create_app
from fleet_server.auth.dependencies import passwords
from fleet_server.auth.passwords import Passwords
from fleet_server.databases import Databases
from fleet_server.db import open_engine, transaction
from fleet_server.kit.times import utc_now
from fleet_server.timeline.hub import EventHub
from protocol.signing import SigningKey
from tests.browser.conftest import SCREENSHOTS, sign_in
from tests.browser.test_accessibility import violations
from tests.fleet_server.console.examples import add_examples, add_people, device_id
from tests.fleet_server.factories import settings
from tests.support.chromium import PATIENCE_MS
from tests.support.engines import migrated_postgres, postgres_url
from tests.support.postgres import Durability, PostgresServer
from tests.support.signing import local_signer

pytestmark = pytest.mark.postgres
TILL = f"/devices/{device_id('till_one')}"


@pytest.fixture(scope="module", name="primary")
def _primary() -> Iterator[PostgresServer]:
    with migrated_postgres(Durability.WHEN_KILLED) as server:
        yield server


@pytest.fixture(scope="module")
def url(primary: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres_url(primary) as database, socket.socket() as listening:
        engine = open_engine(database)
        with transaction(engine) as session:
            add_people(session, utc_now())
            add_examples(session, utc_now())
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        databases = Databases(engine)
        signer = local_signer(SigningKey.from_seed(b"c" * 32), SigningKey.from_seed(b"a" * 32))
        own = replace(settings(tmp_path_factory.mktemp("away")), url=address)
        app = create_app(own, engine, None, EventHub(databases.engine), signer, databases=databases)
        app.dependency_overrides[passwords] = Passwords.cheap
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        give_up_at = time.monotonic() + 30
        while not server.started and time.monotonic() < give_up_at:
            time.sleep(0.05)
        yield address
        server.should_exit = True
        thread.join(20)
        engine.dispose()


@pytest.fixture
def page(chromium: Browser, url: str, primary: PostgresServer) -> Iterator[Page]:
    context = chromium.new_context(base_url=url, locale="en")
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    sign_in(opened, "operator")
    yield opened
    context.close()
    if primary._process is not None and primary._process.poll() is not None:
        primary.start()


def test_the_page_says_since_when_and_opens_by_itself(page: Page, primary: PostgresServer) -> None:
    primary.kill()
    page.goto(TILL)
    expect(page.get_by_role("heading", name="The database cannot be reached just now")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("Since")
    expect(page.get_by_role("heading", name="What still works")).to_be_visible()
    assert violations(page, []) == []
    page.screenshot(path=SCREENSHOTS / "away-en-light.png", full_page=True)
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    primary.start()
    expect(page.locator("#device-head")).to_be_visible()
    assert page.url.endswith(TILL)


def test_what_was_typed_into_a_dialog_is_still_there_and_is_sent_when_the_database_is_back(
    page: Page, primary: PostgresServer
) -> None:
    page.goto(TILL)
    page.locator("#actions").get_by_role("link", name="Print test").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Lines").fill("7")
    primary.kill()
    dialog.get_by_role("button", name="Print test").click()
    expect(dialog.get_by_role("alert")).to_contain_text("what you entered is still here")
    expect(dialog.get_by_label("Lines")).to_have_value("7")
    primary.start()
    # The server may need a moment to notice; a person presses again.
    expect(page.locator("#beat")).not_to_have_class("beat lost")
    give_up_at = time.monotonic() + PATIENCE_MS / 1000
    while dialog.is_visible() and time.monotonic() < give_up_at:
        dialog.get_by_role("button", name="Print test").click()
        page.wait_for_timeout(500)
    expect(dialog).to_be_hidden()
    expect(page.locator("#run-panel")).to_contain_text("Print test")
