"""Pages of a device in a large fleet: 10 million entries in the timeline, 100,000 of them the device's own.

On PostgreSQL and on SQLite, by the real server, signed in. ``ENTRIES=`` and ``LINKS=`` (with 100 devices each) make it
smaller. The device has samples and rollups of 90 days beside, one report a minute.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import text

from fleet_server.db import open_engine
from simulators.load.fleet import Bundle, FleetSize, read_bundles
from simulators.load.stage import Stage
from simulators.load.traffic import METRICS
from tests.benchmarks import large_past
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.large_past import Past
from tests.benchmarks.pages import Browser
from tests.support.postgres import Durability, binaries, running_postgres

ENTRIES = int(os.environ.get("ENTRIES", "10000000"))
OWN_SHARE = 100
LINKS = int(os.environ.get("LINKS", "50"))
ATTACHED = 100
REQUESTS = 60
_MOST_NEIGHBOURS = 1000
_SPANS = (("24 h", timedelta(hours=24)), ("7 days", timedelta(days=7)), ("90 days", timedelta(days=90)))


def measure(folder: Path) -> list[Figure]:
    figures: list[Figure] = []
    with ExitStack() as stack:
        bin_dir = binaries()
        if bin_dir is not None:
            server = stack.enter_context(running_postgres(bin_dir, Durability.DISK))
            server.create("fleet")
            url = server.url("fleet")
            figures += on(folder / "large-postgres", "PostgreSQL", "at most 50 ms", url)
    return figures + on(folder / "large-sqlite", "SQLite", "at most 100 ms", None)


def on(folder: Path, name: str, goal: str, database_url: str | None) -> list[Figure]:
    size = FleetSize(LINKS, ATTACHED)
    with Stage(folder, size, database_url=database_url) as stage:
        stage.enrol()
        bundles = read_bundles(stage.agents, size)
        device = next(iter(bundles[0].attached.values()))
        began_s = time.monotonic()
        fill(database_url or f"sqlite:///{folder / 'server' / 'fleet.db'}", device, bundles)
        filled_s = time.monotonic() - began_s
        _say(f"{name}: {ENTRIES:,} entries in {filled_s:.0f} s")
        keep_all(folder / "server" / "fleet.toml")
        stage.start()
        user = next(one for one in stage.installation.users if one["role"] == "support")
        installation = stage.installation
        browser = Browser(installation.local_url, user["name"], user["password"], installation.api_token)
        return [Figure(f"filled within, {name}", filled_s, "s"), *pages_of(browser, device, name, goal)]


def fill(url: str, device: str, bundles: list[Bundle]) -> None:
    engine = open_engine(url)
    now = datetime.now(UTC)
    try:
        large_past.fill_timeline(engine, Past(ENTRIES, ENTRIES // OWN_SHARE, device), now)
        others = [one for bundle in bundles for one in bundle.attached.values() if one != device]
        large_past.fill_neighbours(engine, others[:_MOST_NEIGHBOURS], now)
        large_past.fill_health(engine, device, now)
        large_past.tidy(engine)
        with engine.connect() as link:
            own = link.execute(text("SELECT count(*) FROM event WHERE device_id = :id"), {"id": device}).scalar_one()
            every = link.execute(text("SELECT count(*) FROM event")).scalar_one()
        if own < ENTRIES // OWN_SHARE or every < ENTRIES:
            raise AssertionError(f"expected {ENTRIES} entries, {ENTRIES // OWN_SHARE} its own, came {every}, {own}")
    finally:
        engine.dispose()


def keep_all(settings: Path) -> None:
    """Samples are forgotten sooner than the 90 days that are asked for here."""
    written = settings.read_text("utf-8")
    kept = re.sub(r"(?m)^(health_kept_days|health_5min_kept_days) = \d+$", r"\1 = 120", written)
    if kept == written:
        raise AssertionError("expected the retention of samples in the settings, came none")
    settings.write_text(kept, "utf-8")


def pages_of(browser: Browser, device: str, name: str, goal: str) -> list[Figure]:
    figures = []
    for what, addresses, holds in (*page_addresses(browser, device), *chart_addresses(device)):
        took = browser.took_ms(addresses, holds)
        figures += [
            Figure(f"{what}, p50, {name}", percentile(took, 0.5), "ms"),
            Figure(f"{what}, p95, {name}", percentile(took, 0.95), "ms", goal),
        ]
        _say(figures[-1].row())
    return figures


Asked = tuple[str, list[str], Callable[[bytes], bool]]


def page_addresses(browser: Browser, device: str) -> list[Asked]:
    page = f"/devices/{device}"
    asked: list[Asked] = [
        ("device page", [page] * REQUESTS, _is_whole_page),
        ("device page, faults only", [f"{page}?types=faults"] * REQUESTS, _is_whole_page),
        ("device page, a type it never had", [f"{page}?types=gaps"] * REQUESTS, lambda body: b"</html>" in body),
        ("timeline, page after page", _walk(browser, device), _has_entries),
    ]
    status, _ = browser.ask(f"{page}/health")
    if status != 404:
        asked.append(("health page", [f"{page}/health"] * REQUESTS, _is_whole_page))
    return asked


def chart_addresses(device: str) -> list[Asked]:
    """Four metrics, as a screen shows them together, over spans that end at different moments."""
    metrics = ",".join(name for name, _, _ in METRICS[:4])
    now = datetime.now(UTC)
    asked: list[Asked] = []
    for name, span in _SPANS:
        ends = [now - timedelta(minutes=7 * number) for number in range(REQUESTS)]
        addresses = [
            f"/api/v1/devices/{device}/health?metrics={metrics}"
            f"&from={quote((end - span).isoformat())}&to={quote(end.isoformat())}"
            for end in ends
        ]
        asked.append((f"chart of four metrics over {name}", addresses, _has_course))
    return asked


def _walk(browser: Browser, device: str) -> list[str]:
    """Each page's own address, as its predecessor names it."""
    address = f"/api/v1/devices/{device}/timeline?limit=100"
    found = [address]
    while len(found) < REQUESTS:
        cursor = json.loads(browser.ask(found[-1])[1])["next"]
        if cursor is None:
            break
        found.append(f"{address}&cursor={quote(cursor)}")
    return found


def _is_whole_page(body: bytes) -> bool:
    return b"</html>" in body


def _has_entries(body: bytes) -> bool:
    return len(json.loads(body)["items"]) > 0


def _has_course(body: bytes) -> bool:
    items = json.loads(body)["items"]
    return len(items) == 4 and all(len(one["points"]) > 50 for one in items)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
