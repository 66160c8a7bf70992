from __future__ import annotations

import pytest

from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import device_id

TILL = f"/devices/{device_id('till_one')}"


@pytest.mark.parametrize("query", ["sn=T63-2204-11870000", "sn=870000", "tid=60210000"])
def test_one_hit_of_a_screen_pop_leads_to_the_device(browser: Browser, query: str) -> None:
    answer = browser("viewer").get(f"/open?{query}")
    assert (answer.status_code, answer.headers.get("location")) == (303, TILL)


def test_several_hits_are_listed(browser: Browser) -> None:
    answer = browser("support", language="en").get("/open", params={"phone": "057155550107"})
    assert answer.status_code == 200
    assert "Till 1" in answer.text
    assert "Till 2" in answer.text


def test_no_hit_says_what_was_looked_for(browser: Browser) -> None:
    answer = browser("viewer", language="en").get("/open?phone=13800000000&tid=99")
    assert "No terminal found" in answer.text
    assert "13800000000" in answer.text
    assert "Terminal id" in answer.text


@pytest.mark.parametrize("text", ["老街坊", "870000", "60210000", "T63-2204-11870000"])
def test_search_finds_by_name_and_number(browser: Browser, text: str) -> None:
    assert TILL in browser("viewer").get("/search", params={"q": text}).text


def test_conditions_stand_in_the_address_and_can_be_taken_away(browser: Browser) -> None:
    html = browser("viewer", language="en").get("/?condition=silent&q=blue").text
    assert 'href="/?q=blue"' in html
    assert 'href="/?condition=silent"' in html


def test_the_rest_of_the_first_page_follows_on_its_own_and_at_once_without_script(browser: Browser) -> None:
    client = browser("viewer")
    first = client.get("/").text
    assert "/fleet/rows?" in first
    whole = client.get("/?full=true").text
    assert whole.count('<tr id="row-') > first.count('<tr id="row-')


def test_a_link_from_a_web_telephone_is_asked_once_more_by_our_own_page(browser: Browser) -> None:
    """The cookie is same-site only, so the first request from elsewhere comes without it."""
    answer = browser().get("/open?tid=60210000", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/open?tid=60210000">' in answer.text
    assert browser().get("/open?tid=60210000").status_code == 303
