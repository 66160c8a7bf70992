from __future__ import annotations

import re
from datetime import datetime, timedelta

from sqlalchemy import Engine

from fleet_server.db import transaction
from fleet_server.faults.models import Fault
from fleet_server.kit.times import to_ms, utc_now
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import DEVICES, TENANT, device_id


def csrf_of(html: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found is not None
    return found[1]


def test_every_device_has_a_page_in_both_languages(browser: Browser) -> None:
    for language in ("zh-CN", "en"):
        client = browser("support", language=language)
        for example in DEVICES:
            answer = client.get(f"/devices/{example.id}")
            assert answer.status_code == 200
            assert (example.zh if language == "zh-CN" else example.en) in answer.text


def test_a_check_without_values_runs_from_the_page_and_shows_up_in_it(browser: Browser) -> None:
    client = browser("technician", language="en")
    address = f"/devices/{device_id('till_one')}"
    asked = client.post(f"{address}/runs", data={"action": "clock.read", "csrf": csrf_of(client.get(address).text)})
    assert asked.status_code == 303
    run = client.get(asked.headers["location"])
    assert "Read the clock" in run.text
    assert "Waits for the device; expires" in run.text
    assert "QUEUED" not in run.text
    assert asked.headers["location"] in client.get(address).text


def test_values_out_of_range_come_back_with_what_was_expected_and_what_came(browser: Browser) -> None:
    client = browser("support", language="en")
    address = f"/devices/{device_id('till_one')}"
    data = {"action": "net.path", "p.count": "90", "p.target": "acquirer", "csrf": csrf_of(client.get(address).text)}
    answer = client.post(f"{address}/runs", data=data)
    assert answer.status_code == 422
    assert "Expected a whole number, 1 to 9; came 90" in answer.text


def test_a_form_that_is_sent_twice_asks_once(browser: Browser) -> None:
    client = browser("support", language="en")
    address = f"/devices/{device_id('till_one')}"
    html = client.get(f"{address}/actions/clock.sync").text
    found = re.search(r'name="key" value="([0-9a-f]+)"', html)
    assert found is not None
    data = {"action": "clock.sync", "csrf": csrf_of(html), "key": found[1]}
    first, second = (client.post(f"{address}/runs", data=data).headers["location"] for _ in range(2))
    assert first == second


def test_all_readings_stand_on_a_page_of_their_own(browser: Browser) -> None:
    html = browser("viewer", language="en").get(f"/devices/{device_id('till_one')}/readings").text
    assert "Clock offset" in html
    assert "±30 s" in html


def test_what_the_device_keeps_is_told_in_words_and_leads_to_the_gaps(browser: Browser) -> None:
    address = f"/devices/{device_id('till_one')}"
    for language, words in (
        ("en", ("Records kept on the device", "84.5 %", "26 h 12 min", "1 have arrived since", "more than usual")),
        ("zh-CN", ("设备上留存的记录", "84.5 %", "1 处后来补上了", "记录送不出去")),
    ):
        client = browser("viewer", language=language)
        html = client.get(address).text
        assert [one for one in words if one not in html] == []
        assert f'href="{address}?types=gaps#tlh"' in html
        gaps = client.get(f"{address}?types=gaps").text
        assert gaps.count('id="event-') == gaps.count('class="gap"') > 0


def test_a_device_on_a_gateway_keeps_nothing_of_its_own(browser: Browser) -> None:
    html = browser("viewer", language="en").get(f"/devices/{device_id('printer')}").text
    assert "Room used" not in html


def test_a_fault_that_comes_and_goes_says_so_and_when_it_counts_as_gone(
    browser: Browser, console_engine: Engine
) -> None:
    client = browser("viewer", language="en")
    address = f"/devices/{device_id('till_one')}"
    assert "Comes and goes" not in client.get(address).text
    now = utc_now()
    with transaction(console_engine) as session:
        for minutes in (9, 5, 1):
            session.add(raised(now - timedelta(minutes=minutes), is_open=minutes == 1))
    said = "Comes and goes: 3 times in ten minutes. It counts as gone when it has stayed away for a minute."
    assert said in client.get(address).text
    assert "时有时无：十分钟内 3 次" in browser("viewer").get(address).text


def raised(at: datetime, *, is_open: bool) -> Fault:
    return Fault(
        id=f"f-flap-{at.timestamp()}",
        tenant_id=TENANT,
        device_id=device_id("till_one"),
        code="escpos.PAPER_OUT",
        severity="major",
        raised_ms=to_ms(at),
        raised_at=at,
        last_seen_at=at,
        cleared_at=None if is_open else at + timedelta(seconds=20),
        is_open=is_open,
    )
