"""The chart page of a device: what it shows, of which time, and what it says when there is nothing."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import Engine, select

from fleet_server.audit.models import AuditEntry
from fleet_server.db import reading, transaction
from fleet_server.health.apply import HealthReport, apply_health
from fleet_server.kit.times import to_ms, utc_now
from protocol.records import HealthColumns
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import TENANT, device_id
from tests.support.health_rows import put_newest

ADDRESS = f"/devices/{device_id('till_one')}/health"


def figures(html: str) -> list[str]:
    return re.findall(r'<figure class="chart" id="chart-([^"]+)"', html)


def test_what_deviates_is_drawn_unasked_and_its_fault_stands_below(browser: Browser) -> None:
    html = browser("viewer", language="en").get(ADDRESS).text
    assert figures(html)[0] in {"sys-clock_drift_s", "agent-spool_used_pct", "agent-spool_oldest_h"}
    assert len(figures(html)) == 4
    assert "Faults of this time" in html
    assert "term.CLOCK_INVALID" in html


@pytest.mark.parametrize(
    ("span", "what"),
    [("1h", "single samples"), ("8h", "single"), ("1d", "15 min each"), ("7d", "2 h each"), ("30d", "6 h each")],
)
def test_each_span_says_what_its_points_are(browser: Browser, span: str, what: str) -> None:
    html = browser("viewer", language="en").get(ADDRESS, params={"span": span, "m": "net.rtt_ms"}).text
    assert figures(html) == ["net-rtt_ms"]
    assert what in html
    assert html.count('<tr><th scope="row">') > 5


def test_no_more_charts_are_drawn_than_a_page_bears(browser: Browser, console_engine: Engine) -> None:
    names = [f"x.m{number}" for number in range(12)]
    with transaction(console_engine) as session:
        put_newest(session, TENANT, device_id("till_one"), dict.fromkeys(names, 1.0), utc_now())
    html = browser("viewer", language="en").get(ADDRESS, params={"m": names}).text
    assert figures(html) == [f"x-m{number}" for number in range(8)]


def test_a_number_that_means_not_known_is_not_drawn(browser: Browser, console_engine: Engine) -> None:
    now = utc_now()
    begin = now - timedelta(minutes=10)
    columns = HealthColumns(to_ms(begin), 60_000, 4, {"modem.csq": [20.0, 99.0, 99.0, 21.0]})
    till = device_id("till_one")
    with transaction(console_engine) as session:
        apply_health(session, TENANT, [HealthReport(till, "traditional", till, "e" * 32, 1, begin, columns)], now)
    html = browser("viewer", language="en").get(ADDRESS, params={"m": "modem.csq", "span": "1h"}).text
    assert re.findall(r'</th><td class="n">([^<]+)</td></tr>', html) == ["20", "21"]


def test_the_table_holds_what_was_measured_and_the_time_as_the_site_sees_it(browser: Browser) -> None:
    html = browser("viewer", language="zh-CN").get(ADDRESS, params={"m": "net.rtt_ms", "span": "7d"}).text
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th>' + r'<td class="n">([^<]+)</td>' * 4 + "</tr>", html)
    assert 70 < len(rows) < 86
    assert all(float(low) <= float(mean) <= float(high) for _, mean, low, high, _ in rows)
    assert max(float(high) for _, _, _, high, _ in rows) > 600
    assert all(re.fullmatch(r"\d+ 月 \d+ 日 \d\d:00", at) for at, *_ in rows)


def test_a_time_that_cannot_be_read_is_said_and_what_was_typed_is_kept(browser: Browser) -> None:
    html = browser("viewer", language="en").get(ADDRESS, params={"from": "2026-02-30T08:00", "to": ""}).text
    assert 'value="2026-02-30T08:00" aria-invalid="true"' in html
    assert "The last 8 hours are shown" in html


def test_a_device_that_never_reported_says_so(browser: Browser) -> None:
    html = browser("viewer", language="en").get(f"/devices/{device_id('fresh')}/health").text
    assert "There is nothing to draw yet" in html
    assert figures(html) == []


def test_the_device_page_leads_to_it(browser: Browser) -> None:
    assert f'href="{ADDRESS}"' in browser("viewer").get(ADDRESS.removesuffix("/health")).text


def test_what_is_drawn_can_be_taken_along_and_the_audit_says_who_did(browser: Browser, console_engine: Engine) -> None:
    client = browser("viewer", language="en")
    html = client.get(ADDRESS, params={"span": "8h", "m": "net.rtt_ms"}).text
    found = re.search(rf'href="({ADDRESS}/export[^"]+)"', html)
    assert found is not None
    answer = client.get(unescape(found[1]))
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="health-')
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert len(rows) > 100
    assert {row["metric"] for row in rows} == {"net.rtt_ms"}
    with reading(console_engine) as session:
        noted = session.execute(select(AuditEntry).where(AuditEntry.__table__.c.action == "health_exported")).scalars()  # type: ignore[attr-defined]  # SQLModel tables have it
        assert [row.actor for row in noted] == ["person:u-viewer"]


def test_who_may_not_export_gets_no_button_and_no_file(browser: Browser) -> None:
    client = browser("technician", language="en")
    assert "Samples as CSV" not in client.get(ADDRESS).text
    times = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}
    assert client.get(f"{ADDRESS}/export", params=times).status_code == 403
    assert browser("viewer").get("/devices/d-none00000001/health/export", params=times).status_code == 404
