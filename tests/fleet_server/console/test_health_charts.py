"""The chart page of a device: what it shows, of which time, and what it says when there is nothing."""

from __future__ import annotations

import re

import pytest

from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import device_id

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
