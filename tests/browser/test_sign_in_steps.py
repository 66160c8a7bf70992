"""The steps between the password and the console, which no address alone leads to, are as accessible as every page."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest
from playwright.sync_api import Page

from fleet_server.auth.models import User
from fleet_server.auth.one_time_codes import RECOVERY_CODES
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.secret_box import new_key_line
from fleet_server.db import transaction
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.kit.times import utc_now
from tests.browser.conftest import Served, Windows
from tests.browser.test_accessibility import violations
from tests.fleet_server.auth.people import code_of
from tests.fleet_server.console.examples import PASSWORD, TENANT
from tests.fleet_server.factories import settings

NARROW = 360


@pytest.fixture
def somebody(served: Served, request: pytest.FixtureRequest) -> str:
    """Who has a password and nothing else yet: others of the folder keep theirs as it is."""
    name = f"somebody.{crc32(request.node.name.encode())}"
    key = settings(Path(served.engine.url.database or "").parent).people_key
    if not key.exists():
        make_private_dir(key.parent)
        write_private(key, new_key_line())
    with transaction(served.engine) as session:
        hashed = Passwords.cheap().hash(PASSWORD)
        session.add(
            User(id=name, tenant_id=TENANT, name=name, password_hash=hashed, role="viewer", created_at=utc_now())
        )
    return name


def give_password(page: Page, name: str) -> None:
    page.goto("/sign-in")
    page.fill("#u", name)
    page.fill("#p", PASSWORD)
    page.click("button.pri")


def is_fit(page: Page, rules: list[str]) -> None:
    assert violations(page, rules) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_picture_recovery_codes_and_the_page_for_the_code(
    windows: Windows, somebody: str, language: str, scheme: str
) -> None:
    rules = ["color-contrast"] if scheme == "dark" else []
    page = windows.open("/sign-in", role="", language=language, scheme=scheme, width=NARROW)
    give_password(page, somebody)
    page.wait_for_selector("#main")
    page.goto("/second-factor")
    page.click("form[action='/second-factor/begin'] button")
    page.locator(".qr svg").wait_for()
    is_fit(page, rules)
    secret = "".join(page.locator(".steps code").all_inner_texts())
    page.fill("#c", "000000")
    page.click("form[action='/second-factor'] button")
    page.locator("[role=alert]").wait_for()
    is_fit(page, rules)
    page.fill("#c", code_of(secret, utc_now(), steps=-1))
    page.click("form[action='/second-factor'] button")
    page.locator("code").nth(9).wait_for()
    assert len(set(page.locator("code").all_inner_texts())) >= RECOVERY_CODES
    is_fit(page, rules)
    again = windows.open("/sign-in", role="", language=language, scheme=scheme, width=NARROW)
    give_password(again, somebody)
    again.locator("form[action='/sign-in/code'] #c").wait_for()
    assert again.locator("#main").count() == 0, "who has not given the code is in"
    is_fit(again, rules)
