"""How a reading lies over the fleet, as a page: each group leads to the list of its devices."""

from __future__ import annotations

import html as html_text
import re

import pytest
from sqlalchemy import Engine

from fleet_server.auth.models import User
from fleet_server.auth.passwords import Passwords
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import PASSWORD, SPARE

METRIC = "net.rtt_ms"


def groups(page: str) -> dict[str, tuple[str, list[str]]]:
    """By name: where it leads, and the texts of its cells."""
    body = page.split("<tbody>")[1].split("</tbody>", maxsplit=1)[0]
    found: dict[str, tuple[str, list[str]]] = {}
    for row in body.split("<tr>")[1:]:
        link = re.search(r'<th scope="row"><a href="([^"]+)">([^<]+)</a>', row)
        assert link is not None
        cells = re.findall(r'<td class="n">(?:<a [^>]+>)?([^<]*)', row)
        found[link[2]] = html_text.unescape(link[1]), cells
    return found


def test_nothing_is_counted_before_a_reading_is_chosen(browser: Browser) -> None:
    for address in ("/distribution", "/distribution?metric=sys.unheard_of", "/distribution?metric=%27%22"):
        page = browser("viewer", language="en").get(address)
        assert page.status_code == 200
        assert "Choose a reading" in page.text
        assert "<tbody>" not in page.text


def test_a_reading_that_nobody_reports_is_named(browser: Browser) -> None:
    client = browser("viewer", language="en")
    assert "No device reports sys.unheard_of" in client.get("/distribution?metric=sys.unheard_of").text
    assert "No device reports &lt;b&gt;" in client.get("/distribution?metric=<b>").text
    assert "No device reports" not in client.get("/distribution").text


def test_each_model_and_version_has_its_numbers_and_leads_to_its_devices(browser: Browser) -> None:
    client = browser("viewer", language="en")
    found = groups(client.get("/distribution", params={"metric": METRIC}).text)
    address, cells = found["T-630 · 4.13.0"]
    values = sorted(float(one.latest[METRIC]) for one in SPARE if one.firmware == "4.13.0")
    assert cells[:2] == [str(len(values)), str(sum(value > 600 for value in values))]
    assert (float(cells[2]), float(cells[-1].replace(",", ""))) == (values[0], values[-1])
    listed = client.get(address).text
    shown = {one.en for one in SPARE if f">{one.en}<" in listed or f"{one.en}</a>" in listed}
    assert shown == {one.en for one in SPARE if one.firmware == "4.13.0"}
    assert "Firmware:" in listed


def test_what_is_out_of_range_leads_to_exactly_those(browser: Browser) -> None:
    client = browser("viewer", language="en")
    page = client.get("/distribution", params={"metric": METRIC, "kind": "terminal"}).text
    address = re.search(r'href="([^"]+where=net\.rtt_ms%3E600)"', page)
    assert address is not None
    listed = client.get(html_text.unescape(address[1])).text
    slow = {one.en for one in SPARE if float(one.latest[METRIC]) > 600}
    assert slow
    assert {one.en for one in SPARE if f"{one.en}</a>" in listed} == slow


@pytest.mark.parametrize(("language", "words"), [("en", "Version of the agent"), ("zh-CN", "代理版本")])
def test_devices_are_told_apart_by_their_agent_too(browser: Browser, language: str, words: str) -> None:
    page = browser("viewer", language=language).get("/distribution", params={"metric": METRIC, "by": "agent"}).text
    assert words in page
    assert 'href="/?model=T-630&amp;agent=-"' in page


def test_conditions_that_nothing_meets_are_said(browser: Browser) -> None:
    page = browser("viewer", language="en").get("/distribution", params={"metric": METRIC, "model": "none"}).text
    assert "No device has a value of this reading" in page


def test_another_tenant_is_not_told_which_readings_there_are(browser: Browser, console_engine: Engine) -> None:
    with transaction(console_engine) as session:
        hashed = Passwords.cheap().hash(PASSWORD)
        session.add(
            User(id="u-o", tenant_id="other", name="other", password_hash=hashed, role="operator", created_at=utc_now())
        )
    page = browser("other", language="en").get("/distribution", params={"metric": METRIC})
    assert "There is nothing to draw yet" in page.text
    assert METRIC not in page.text.split("<main")[1]


def test_nobody_comes_in_without_signing_in(browser: Browser) -> None:
    assert browser().get("/distribution").status_code == 303
