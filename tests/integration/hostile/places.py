"""Everything that an installation shows, sends out or says: pages, answers, files, streams, commands."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import httpx2
from pyarrow import parquet
from sqlmodel import SQLModel, select

from fleet_server.kit.times import utc_now
from tests.integration.hostile.installation import Installation, Person
from tests.integration.hostile.looking import Witness
from tests.integration.hostile.seeding import PATIENCE_S, Seeded
from tests.integration.hostile.words import marks_in

ROOT = Path(__file__).resolve().parents[3]
MATRIX = tomllib.loads((ROOT / "tests" / "fleet_server" / "route_matrix.toml").read_text("utf-8"))
_MOST_OF_A_KIND = 12
# By the name that a path gives it.
_ROWS = {
    "device_id": "device",
    "execution_id": "execution",
    "run_id": "execution",
    "inspection_id": "inspection",
    "site_id": "site",
    "person_id": "person",
    "walk_id": "playbook_run",
}
_ASKED = {
    "/api/v1/health/distribution": "?metric=net.rtt_ms",
    "/distribution": "?metric=net.rtt_ms",
    "/search": "?q=zq",
    "/search/palette": "?q=zq",
    "/devices/{device_id}/health": "?m=net.operator",
}
_DRIVER = """
import json, sys
from fleet_server import __main__ as program
for words in json.loads(sys.argv[1]):
    sys.argv = ["fleet-server", *words]
    try:
        program.main()
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
"""


def look_everywhere(witness: Witness, seeded: Seeded) -> None:
    for answer in seeded.answers:
        look_at(witness, f"answer {answer.request.method} {answer.request.url.path}", answer)
    with closing(Person(seeded.site.url)) as person, closing(seeded.site.client()) as ask:
        for place, address in addresses(seeded.site, "console"):
            look_at(witness, place, person.client.get(address))
        for place, address in addresses(seeded.site, "api"):
            look_at(witness, place, ask.get(address))
        look_at(witness, "sites as a file", ask.post("/api/v1/sites/export"))
        look_at_exports(witness, ask)
        look_at_streams(witness, seeded)
    look_at_commands(witness, seeded.site)


def look_at(witness: Witness, place: str, answer: httpx2.Response) -> None:
    assert answer.status_code < 500 or answer.status_code == 503, (place, answer.text[:500])
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert "\n" not in "".join(answer.headers.values()), place
    if kind in {"application/json", "application/problem+json"}:
        witness.json(place, answer.text)
    elif kind == "text/html":
        witness.page(place, answer.text)
    elif kind == "text/csv":
        witness.table(place, answer.text)
    elif kind in {"application/x-ndjson", "application/jsonl"}:
        witness.lines_of_json(place, answer.text)
    elif kind == "text/plain" and place.endswith("/metrics"):
        witness.metrics(place, answer.text)
    else:
        assert not marks_in(answer.text), (place, kind)


def addresses(site: Installation, door: str) -> Iterator[tuple[str, str]]:
    """Of every route that is read, with what stands behind its ids."""
    for name in MATRIX[door]:
        method, _, path = name.partition(" #")[0].partition(" ")
        is_looked_at_elsewhere = path.endswith(("/stream", "/events", "/live", "/export"))
        if method != "GET" or is_looked_at_elsewhere or path.startswith(("/static/", "/sign-in/oidc")):
            continue
        for filled in filled_in(site, path):
            yield f"{door} {path}", filled + _ASKED.get(path, "")


def filled_in(site: Installation, path: str) -> Iterator[str]:
    for name, table in _ROWS.items():
        if "{" + name + "}" in path:
            path = path.replace("/actions/{name}", "/actions/net.path")
            path = path.replace("{date}", utc_now().date().isoformat())
            for row in newest(site, table):
                yield path.replace("{" + name + "}", quote(row, safe=""))
            return
    yield path


def newest(site: Installation, table: str) -> list[str]:
    known = SQLModel.metadata.tables[table]
    with site.engine.connect() as link:
        rows = link.execute(select(known.c.id).order_by(known.c.id.desc()).limit(_MOST_OF_A_KIND))
        return [site.link] * (table == "device") + [str(row[0]) for row in rows]


def look_at_exports(witness: Witness, ask: httpx2.Client) -> None:
    now, hour = utc_now(), timedelta(hours=1)
    between = {"from": (now - hour).isoformat(), "to": (now + hour).isoformat()}
    for form in ("csv", "jsonl"):
        look_at(witness, f"audit as {form}", ask.get("/api/v1/audit/export", params={"format": form}))
    look_at(witness, "readings as csv", ask.get("/api/v1/health/export", params={**between, "format": "csv"}))
    packed = ask.get("/api/v1/health/export", params={**between, "format": "parquet"}).content
    rows = parquet.read_table(io.BytesIO(packed)).to_pylist()
    witness.json("readings as parquet", json.dumps(rows, default=str))


def look_at_streams(witness: Witness, seeded: Seeded) -> None:
    site = seeded.site
    with closing(Person(site.url)) as person, closing(site.client()) as ask:
        witness.events("live", heard_live(seeded, ask))
        for name in MATRIX["api"]:
            if name.endswith("/events"):
                for address in filled_in(site, name.removeprefix("GET ")):
                    witness.events(name, beginning(ask, address))
        for name in MATRIX["console"]:
            if name.endswith("/stream"):
                for address in list(filled_in(site, name.removeprefix("GET ")))[:2]:
                    said = beginning(person.client, address)
                    parts = [line.removeprefix("data: ") for line in said.split("\n") if line.startswith("data: ")]
                    witness.page(name, "\n".join(parts), is_stream=True)


def heard_live(seeded: Seeded, ask: httpx2.Client) -> str:
    """What somebody hears who watches the device while it speaks."""
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(beginning, ask, f"/api/v1/devices/{seeded.site.link}/live")
        for _ in range(5):
            if not wait([heard], timeout=1).not_done:
                break
            seeded.speaker.say_live()
        return heard.result()


def beginning(client: httpx2.Client, address: str) -> str:
    """All that there is from the first event on, until nothing comes any more."""
    said = ""
    with suppress(httpx2.TimeoutException):
        headers = {"Last-Event-ID": "0"}
        with client.stream("GET", address, headers=headers, timeout=httpx2.Timeout(60, read=3)) as answer:
            for piece in answer.iter_text():
                said += piece
    return said


def look_at_commands(witness: Witness, site: Installation) -> None:
    served = ["--url", site.url, "--token", "tm_operator"]
    here = ["--data", str(site.settings.data)]
    asked = [
        *(["devices", *served], ["timeline", site.link, *served], ["overrides", *served], ["approvals", *served]),
        *(["permits", *served], ["inspections", "list", *served], ["signing", "show", *served]),
        *(["sites", "list", *here], ["people", "list", *here], ["audit", "list", *here], ["tenants", "list", *here]),
        *(["dead-letters", "list", *here], ["enrolment", "list", *here]),
    ]
    command = [sys.executable, "-c", _DRIVER, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S * 4, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-2000:]
    witness.terminal("commands", done.stdout.decode("utf-8") + done.stderr.decode("utf-8"))
