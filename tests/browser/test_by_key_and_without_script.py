from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Windows, sign_in
from tests.fleet_server.console.examples import device_id

TILL = f"/devices/{device_id('till_one')}"


def test_a_terminal_is_found_by_keys_alone(windows: Windows) -> None:
    page = windows.open("/", language="en")
    # Without waiting: what is typed ahead is not lost.
    page.keyboard.type("/60210000")
    expect(page.get_by_role("option").first).to_contain_text("Till 1")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{TILL}")


def test_rows_are_walked_by_j_and_k_and_opened_by_enter(windows: Windows) -> None:
    page = windows.open("/", language="en")
    page.keyboard.press("j")
    expect(page.locator("tr.cur")).to_have_count(1)
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("#rows tr").first.locator("a")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{TILL}")


def test_the_first_tab_stop_skips_to_the_content(windows: Windows) -> None:
    page = windows.open("/", language="en")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()


def test_a_fix_is_previewed_in_a_dialog_that_holds_the_focus_and_gives_it_back(windows: Windows) -> None:
    page = windows.open(TILL, language="en")
    opener = page.locator("#lead").get_by_role("link", name="Set the clock")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Set the clock")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("holds for 1 min")
    for _ in range(12):
        page.keyboard.press("Tab")
        assert dialog.evaluate("(layer) => layer.contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_the_dialog_of_a_fix_begins_at_its_heading_and_one_with_values_at_the_first_of_them(windows: Windows) -> None:
    page = windows.open(TILL, language="en")
    page.locator("#lead").get_by_role("link", name="Set the clock").click()
    dialog = page.get_by_role("dialog", name="Set the clock")
    expect(dialog.get_by_role("heading", name="Set the clock")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(dialog.get_by_role("button", name="Set the clock")).to_be_focused()
    page.keyboard.press("Escape")
    page.locator("#actions").get_by_role("link", name="Print test").click()
    expect(page.get_by_role("dialog").get_by_label("Lines")).to_be_focused()


def test_a_wrong_value_is_named_in_the_dialog_and_a_right_one_leads_to_the_run(windows: Windows) -> None:
    page = windows.open(TILL, language="en")
    page.locator("#actions").get_by_role("link", name="Print test").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Lines").fill("900")
    dialog.get_by_role("button", name="Print test").click()
    expect(dialog).to_contain_text("Expected a whole number, 1 to 40; came 900")
    dialog.get_by_label("Lines").fill("4")
    dialog.get_by_role("button", name="Print test").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#run-panel")).to_contain_text("Print test")


def test_a_fix_goes_to_its_own_page_and_can_be_cancelled_while_it_waits(windows: Windows) -> None:
    page = windows.open(TILL, language="en")
    page.locator("#lead").get_by_role("link", name="Set the clock").click()
    page.get_by_role("dialog").get_by_role("button", name="Set the clock").click()
    page.wait_for_url("**/runs/*")
    expect(page.locator("#run")).to_contain_text("Waits for the device; expires")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#run")).to_contain_text("Cancelled")


def test_everything_that_matters_works_without_script(windows: Windows) -> None:
    page = windows.open("/sign-in", role="", language="en", script=False)
    sign_in(page, "support")
    page.goto(TILL)
    page.get_by_role("button", name="Read the clock").first.click()
    page.wait_for_url("**/runs/*")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#run")).to_contain_text("Cancelled")
    page.goto(TILL)
    page.locator("#actions").get_by_role("link", name="Print test").click()
    page.get_by_label("Lines").fill("900")
    page.get_by_role("button", name="Print test").click()
    expect(page.locator("main")).to_contain_text("came 900")


def test_the_language_changes_and_the_page_stays(windows: Windows) -> None:
    page = windows.open(f"{TILL}?types=faults", language="en")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    assert page.url.endswith("?types=faults")
    page.get_by_role("button", name="EN", exact=True).click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
