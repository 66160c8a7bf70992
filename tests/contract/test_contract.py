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
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.contract.by_hand import ByHand, described, never_answered
from tests.contract.prepared import configuration, prepare, token
from tests.support.api_process import ApiProcess, running_api_process, running_beside

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
DESCRIPTION = ROOT / "docs" / "openapi.json"
EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "5"))
# What cannot be answered 2xx here, and why.
NEVER = {
    "GET /readyz": "there is no broker",
    "GET /artifacts/v1/metadata/{name}": "to devices alone, by their proof; tests/fleet_server/artifacts asks as one",
    "GET /artifacts/v1/targets/{path}": "the same",
    "POST /api/v1/approvals/{execution_id}/break-glass": "a demo names no key that lies offline",
    "POST /api/v1/playbook-runs": "devices here declare too little for any that ships",
    "GET /api/v1/playbook-runs/{walk_id}": "there is none",
    "POST /api/v1/playbook-runs/{walk_id}/cancel": "there is none",
    "POST /api/v1/executions/{execution_id}/consent": "no terminal has asked its merchant",
}
STREAMS = r"/(events|live)$"
SEED = 20260301
MATRIX = tomllib.loads((ROOT / "tests" / "fleet_server" / "route_matrix.toml").read_text("utf-8"))
NAMES = ("d-none", "\0", "é" * 30, "a" * 300, "..", "%2e%2e", "'\"<>", "\u202e")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    folder = tmp_path_factory.mktemp("api")
    with running_api_process(folder, https=False, http_requests_per_s_per_address=0) as running:
        signer = running_beside(folder, "signer", "--folder", str(running.data / "signer"))
        with signer, running_beside(folder, "issuer", "--data", str(running.data)):
            yield running


@pytest.fixture(scope="module")
def tokens(api: ApiProcess) -> dict[str, str]:
    return {role: token(api.data, role) for role in ("operator", "approver")}


def roles() -> dict[str, str]:
    """Who asks for what: the operator, and an approver where operators are not let in."""
    lines = {name.partition(" #")[0]: line for name, line in MATRIX["api"].items()}
    return {name: "approver" if "O" not in line.get("may", "O") else "operator" for name, line in lines.items()}


def test_every_operation_answers_as_described(api: ApiProcess, tokens: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    rules, ready = Path(__file__).parent / "schemathesis.toml", prepare(api)
    config.write_text(configuration(rules, ready, tokens, roles()), "utf-8")
    by_hand = ByHand(api, tokens, ready.by_hand)
    by_hand.ask_before()
    report = tmp_path / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
        *("run", str(DESCRIPTION), "--url", f"http://127.0.0.1:{api.port}", "--no-color"),
        *("--checks", "all", "--exclude-path-regex", STREAMS),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", str(SEED)),
        *("--generation-database", "none", "--report", "json", "--report-json-path", str(report)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "No data" not in done.stdout
    by_hand.lift()
    answered = {name for name in described(DESCRIPTION) if re.search(STREAMS, name) is None}
    assert "\n".join(sorted(never_answered(api, answered) ^ set(NEVER))) == ""


def test_streams_answer_what_is_described_whatever_is_asked(api: ApiProcess, tokens: dict[str, str]) -> None:
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
            status = beginning(
                api.port, filled, {"Authorization": f"Bearer {tokens['operator']}", "Last-Event-ID": last}
            )
            assert str(status) in described, (filled, last, status)
        for device in api.installed["devices"].values():
            filled = re.sub(r"{device_id}", device["id"], path)
            assert beginning(api.port, filled, {"Authorization": f"Bearer {tokens['operator']}"}) < 500


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
