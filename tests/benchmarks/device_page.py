"""The page of a device with 100,000 entries in its timeline, on SQLite, as a browser asks for it."""

from __future__ import annotations

import http.client
import sqlite3
import time
import urllib.parse
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie

from tests.acceptance.demo_client import PATIENCE_S, Demo
from tests.benchmarks.figures import Figure, percentile

ENTRIES = 100_000
REQUESTS = 60


def fill(demo: Demo, key: str) -> None:
    """Writes the past of a device straight into the demo's database."""
    start = datetime.now(UTC) - timedelta(days=60)
    reading = '{"metrics": {"prn.paper_near_end": {"value": 0, "normal": true}}}'
    raised = '{"code": "escpos.eot4.paper_end", "severity": "major", "evidence": "", "fault": "0"}'
    rows = []
    for number in range(ENTRIES):
        at = (start + timedelta(seconds=50 * number)).strftime("%Y-%m-%d %H:%M:%S.%f")
        kind, data = ("fault_raised", raised) if number % 10 == 0 else ("reading", reading)
        rows.append(("default", demo.device(key), kind, at, at, "", data))
    with sqlite3.connect(demo.data / "server" / "fleet.db", timeout=60) as database:
        database.executemany(
            "INSERT INTO event (tenant_id, device_id, type, at, received_at, actor, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def sign_in(demo: Demo) -> tuple[http.client.HTTPConnection, str]:
    place = urllib.parse.urlsplit(demo.facts["url"])
    door = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE_S)
    user = demo.user("support")
    form = urllib.parse.urlencode({"name": user["name"], "password": user["password"]})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": demo.facts["url"]}
    door.request("POST", "/sign-in", form, headers)
    answer = door.getresponse()
    answer.read()
    cookies = SimpleCookie()
    for value in answer.headers.get_all("Set-Cookie") or []:
        cookies.load(value)
    return door, "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())


def measure(demo: Demo) -> list[Figure]:
    fill(demo, "prn1")
    door, cookie = sign_in(demo)
    took = []
    for number in range(REQUESTS + 5):
        began = time.perf_counter()
        door.request("GET", f"/devices/{demo.device('prn1')}", headers={"Cookie": cookie, "Accept-Language": "en"})
        answer = door.getresponse()
        body = answer.read()
        if answer.status != 200 or b"</html>" not in body:
            raise AssertionError(f"the page answered {answer.status}")
        if number >= 5:
            took.append((time.perf_counter() - began) * 1000)
    return [
        Figure("device page with 100,000 entries, p50", percentile(took, 0.5), "ms"),
        Figure("device page with 100,000 entries, p95", percentile(took, 0.95), "ms", "at most 100 ms"),
    ]
