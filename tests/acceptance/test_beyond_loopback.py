"""``make run HOST=0.0.0.0``: the console for other machines, by https with the demo's own authority."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from simulators.broker import BrokerMissing, find_mosquitto
from tests.acceptance.demo_client import PATIENCE_S, Demo, run_command
from tests.support.required import missing

pytestmark = [pytest.mark.acceptance, pytest.mark.browser]
EVERYWHERE = "0.0.0.0"  # noqa: S104  # asked for in a test, reached by loopback


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    try:
        find_mosquitto()
    except BrokerMissing as error:
        missing(str(error))
    demo = Demo(tmp_path_factory.mktemp("https") / "state", host=EVERYWHERE)
    demo.start()
    yield demo
    demo.stop()


def address(demo: Demo) -> str:
    return f"https://127.0.0.1:{demo.port}"


def test_whoever_trusts_the_named_authority_trusts_the_console(demo: Demo) -> None:
    authority = demo.data / "server" / "keys" / "ca.crt"
    assert str(authority) in demo.said()
    assert demo.facts["url"].startswith("https://")
    trusting = ssl.create_default_context(cafile=str(authority))
    with urllib.request.urlopen(f"{address(demo)}/readyz", timeout=PATIENCE_S, context=trusting) as ready:
        assert ready.status == 200
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"{address(demo)}/readyz", timeout=PATIENCE_S)


def test_shell_asks_with_the_demos_authority(demo: Demo) -> None:
    asked = run_command("fleet_server", "devices", "--data", str(demo.data), "--lang", "en")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert demo.device("prn1") in asked.stdout


def test_browser_signs_in_with_a_cookie_bound_to_the_host_and_complains_of_nothing(
    demo: Demo, chromium: Browser
) -> None:
    person = demo.user("operator")
    complaints: list[str] = []
    # The chain is checked above; a browser takes authorities from its user's own store only.
    context = chromium.new_context(base_url=address(demo), ignore_https_errors=True, locale="en")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/sign-in")
    page.fill("#u", person["name"])
    page.fill("#p", person["password"])
    page.click("button.pri")
    page.wait_for_selector("#main")
    with page.expect_response(lambda answer: "stream" in answer.url) as stream:
        page.goto(f"/devices/{demo.device('prn1')}")
    page.wait_for_selector("#main")
    assert stream.value.status == 200
    assert page.evaluate("isSecureContext")
    cookies = context.cookies()
    context.close()
    assert {cookie["name"] for cookie in cookies} == {"__Host-tillmedic", "__Host-tillmedic-known"}
    for cookie in cookies:
        assert (cookie["secure"], cookie["httpOnly"], cookie["path"]) == (True, True, "/")
        assert cookie["sameSite"] == "Strict"
    assert complaints == []
