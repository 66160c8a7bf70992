"""The API as its description promises it: requests that schemathesis makes from docs/openapi.json, right and wrong.

A few of each operation with all tests; `make contract` makes 500 of each.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.api_process import ApiProcess, running_api_process

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
DESCRIPTION = ROOT / "docs" / "openapi.json"
EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "5"))
STREAMS = r"/(events|live)$"
SEED = 20260301
NAMES = ("d-none", "\0", "é" * 30, "a" * 300, "..", "%2e%2e", "'\"<>", "\u202e")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    folder = tmp_path_factory.mktemp("api")
    with running_api_process(folder, https=False, http_requests_per_s_per_address=0) as running:
        yield running


@pytest.fixture(scope="module")
def token(api: ApiProcess) -> str:
    """Of somebody who may do everything, so that what is behind each door is reached."""
    command = [sys.executable, "-m", "fleet_server", "token", "contract", "--role", "operator", "--data", str(api.data)]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"tm_\S+", made.stdout)
    assert found is not None, made.stdout
    return found[0]


def test_every_operation_answers_as_described(api: ApiProcess, token: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(Path(__file__).parent / "schemathesis.toml")),
        *("run", str(DESCRIPTION), "--url", f"http://127.0.0.1:{api.port}", "--no-color"),
        *("--header", f"Authorization: Bearer {token}", "--checks", "all", "--exclude-path-regex", STREAMS),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", str(SEED)),
        *("--generation-database", "none", "--report", "json", "--report-json-path", str(report)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "No data" not in done.stdout


def test_streams_answer_what_is_described_whatever_is_asked(api: ApiProcess, token: str) -> None:
    """They never end, so only their beginnings are read: made by hand, from the same description."""
    paths = json.loads(DESCRIPTION.read_text("utf-8"))["paths"]
    chance = random.Random(SEED)
    streams = [path for path in paths if re.search(STREAMS, path)]
    assert len(streams) == 4
    for path in streams:
        described = set(paths[path]["get"]["responses"])
        for _ in range(EXAMPLES):
            made = quote(chance.choice(NAMES), safe="")
            last = chance.choice(("0", "1", "-1", "9" * 30, "a", "", "1.5", "\xff"))
            filled = re.sub(r"{[^}]*}", made, path)
            status = beginning(api.port, filled, {"Authorization": f"Bearer {token}", "Last-Event-ID": last})
            assert str(status) in described, (filled, last, status)
        for device in api.installed["devices"].values():
            filled = re.sub(r"{device_id}", device["id"], path)
            assert beginning(api.port, filled, {"Authorization": f"Bearer {token}"}) < 500


def beginning(port: int, path: str, headers: dict[str, str]) -> int:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        link.putrequest("GET", path)
        for name, value in headers.items():
            link.putheader(name, value.encode("latin-1"))
        link.endheaders()
        return link.getresponse().status
    finally:
        link.close()
