from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import SCREENSHOTS, Windows
from tests.browser.places import PAGES

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
# A theme changes nothing but colours, so in the dark only those are looked at again.
_RUN = """async (rules) => {
  const options = { resultTypes: ["violations"], ...(rules.length ? { runOnly: rules } : {}) };
  const found = await axe.run(document, options);
  return found.violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.target} ${node.html}`));
}"""
# Kept to be looked at beside the design, and for the reader's first impression.
_SHOWN = {"fleet", "device", "distribution", "health", "health-week", "run-proved", "search", "sign-in"}


@cache
def axe_source() -> str:
    assert AXE.is_file(), "axe-core is missing: run 'npm ci --ignore-scripts'"
    return AXE.read_text("utf-8")


def violations(page: Page, rules: list[str]) -> list[str]:
    page.evaluate(axe_source())
    found: list[str] = page.evaluate(_RUN, rules)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_no_page_has_an_accessibility_violation(windows: Windows, language: str, scheme: str) -> None:
    page = windows.open(language=language, scheme=scheme)
    found: dict[str, list[str]] = {}
    for name, path in PAGES.items():
        page.goto(path)
        found[name] = violations(page, ["color-contrast"] if scheme == "dark" else [])
        if name in _SHOWN:
            page.screenshot(path=SCREENSHOTS / f"{name}-{language}-{scheme}.png", full_page=True)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_no_open_layer_has_an_accessibility_violation(windows: Windows, language: str) -> None:
    page = windows.open(PAGES["device"], language=language)
    page.keyboard.press("/")
    page.keyboard.type("6021")
    page.locator("[role=option]").first.wait_for()
    assert violations(page, []) == []
    page.keyboard.press("Escape")
    page.locator("#actions a[data-dialog]").last.click()
    page.locator("#action-dialog h2").wait_for()
    assert violations(page, []) == []


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_no_page_scrolls_sideways_on_a_phone(windows: Windows, language: str) -> None:
    page = windows.open(language=language, width=360)
    wide: dict[str, int] = {}
    for name, path in PAGES.items():
        page.goto(path)
        wide[name] = page.evaluate("document.documentElement.scrollWidth")
        if name in _SHOWN:
            page.screenshot(path=SCREENSHOTS / f"{name}-{language}-phone.png", full_page=True)
    assert {name: width for name, width in wide.items() if width > 360} == {}


def test_no_page_breaks_the_content_policy_or_its_own_script(windows: Windows) -> None:
    page = windows.open()
    for name, path in PAGES.items():
        if name != "not-found":
            page.goto(path)
            page.wait_for_load_state("load")
    assert windows.complaints == []
