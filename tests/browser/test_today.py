"""The technician's page, on the telephone that it is made for."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Windows
from tests.browser.places import TILL
from tests.browser.test_accessibility import violations

NARROW = 360
# What a thumb hits: 44 CSS pixels each way, WCAG 2.2, 2.5.5.
_THUMB_PX = 44
_SMALL_BUTTONS = """(least) => [...document.querySelectorAll("#main .stop .btn")]
  .filter((one) => { const at = one.getBoundingClientRect(); return at.height < least || at.width < least; })
  .map((one) => one.textContent)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_page_of_today_fits_a_telephone_and_everybody(windows: Windows, language: str, scheme: str) -> None:
    page = windows.open("/today", role="technician", language=language, scheme=scheme, width=NARROW)
    assert page.locator(".stop").count() > 0
    assert violations(page, ["color-contrast"] if scheme == "dark" else []) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    assert page.evaluate(_SMALL_BUTTONS, _THUMB_PX) == []


def test_technician_goes_from_the_list_to_the_terminal_and_to_whom_to_call(windows: Windows) -> None:
    page = windows.open("/today", role="technician", language="en", width=NARROW)
    stop = page.locator(f".stop:has(a[href='{TILL}'])")
    stop.get_by_text("What happened last").click()
    assert stop.locator("details li").first.is_visible()
    stop.get_by_role("link", name="Whom to call").click()
    page.wait_for_url("**/sites/*")
    page.go_back()
    stop.get_by_role("link", name="Open the terminal").click()
    page.wait_for_url(f"**{TILL}")
    assert page.locator("#device-head").is_visible()
    assert windows.complaints == []
