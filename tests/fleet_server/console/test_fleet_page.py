from __future__ import annotations

from tests.fleet_server.console.conftest import Browser


def test_fleet_shows_every_terminal_worst_first_in_both_languages(browser: Browser) -> None:
    chinese = browser("viewer").get("/").text
    english = browser("viewer", language="en").get("/").text
    assert chinese.index("1 号台") < chinese.index("2 号台")
    assert "Old Neighbours Noodles · Renmin Road · Till 1" in english
    assert "日期时间" in chinese


def test_since_when_stands_beside_what_is_wrong_and_not_beside_a_well_device(browser: Browser) -> None:
    html = browser("viewer", language="en").get("/").text
    rows = html[html.index("<tbody") :].split("<tr id=")[1:]
    assert {("Online," in row, ">since " in row or "> since " in row) for row in rows} == {
        (True, False),
        (False, True),
    }


def test_a_device_without_a_fault_whose_readings_deviate_is_not_called_well(browser: Browser) -> None:
    html = browser("viewer", language="en").get("/?full=true").text
    rows = html[html.index("<tbody") :].split("<tr id=")[1:]
    deviating = [row for row in rows if "Bar till" in row]
    assert len(deviating) == 1
    assert "Online, readings out of range" in deviating[0]
    assert "Online, well" not in deviating[0]


def test_the_fleet_is_filtered_by_newest_values_and_says_so(browser: Browser) -> None:
    viewer = browser("viewer", language="en")
    html = viewer.get("/", params={"where": "net.rtt_ms > 30"}).text
    assert html.count('<tr id="row-') >= 1
    assert "&gt; 30 ms" in html
    assert 'href="/"' in html[html.index('class="chip"') :]
    assert '<tr id="row-' not in viewer.get("/", params={"where": "net.rtt_ms>1e6"}).text


def test_a_condition_that_cannot_be_read_is_left_out_and_shown_again(browser: Browser) -> None:
    html = browser("viewer", language="en").get("/", params={"where": 'rtt~"5"'}).text
    assert "cannot be read" in html
    assert 'value="rtt~&#34;5&#34;"' in html
    assert '<tr id="row-' in html
