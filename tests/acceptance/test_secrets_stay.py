"""The secrets of a running installation: none is in a process list, a log, a file that others may read or an answer."""

from __future__ import annotations

import base64
import http.cookiejar
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.demo_client import Demo, run_command
from tests.support.postgres import binaries, running_postgres
from tests.support.required import missing
from tests.support.secret_hunt import found_in, in_files, in_processes, loose_files, of_files

pytestmark = [pytest.mark.acceptance, pytest.mark.postgres]
DATABASE_PASSWORD = "harbour-tin-7731-lantern"
WRONG_PASSWORD = "mistyped-Violet-4410-anchor"
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
TOTP_GROUP = re.compile(r"<code>([A-Z2-7]{4})</code>")
READ = (
    *("/metrics", "/healthz", "/readyz", "/api/v1/devices", "/api/v1/executions", "/api/v1/dead-letters"),
    *("/api/v1/faults", "/api/v1/sites", "/api/v1/signing", "/api/v1/audit", "/api/v1/audit/export"),
    *("/api/v1/enrolments", "/api/v1/health/distribution?metric=net.rtt_ms"),
)
PAGES = ("/", "/audit", "/people", "/signing", "/search?q=tm_", "/runs", "/enrolment", "/account")


class Visitor:
    """A person's browser, as far as forms and cookies go."""

    def __init__(self, demo: Demo) -> None:
        self._url = demo.facts["url"]
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> str:
        return self._said(urllib.request.Request(self._url + path))

    def post(self, path: str, **values: str) -> str:
        data = urllib.parse.urlencode(values).encode()
        headers = {"Origin": self._url, "Content-Type": "application/x-www-form-urlencoded"}
        return self._said(urllib.request.Request(self._url + path, data, headers))

    def _said(self, request: urllib.request.Request) -> str:
        try:
            with self._opener.open(request, timeout=30) as answer:
                said: bytes = answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                said = refusal.read()
        return said.decode("utf-8", "replace")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    found = binaries()
    if found is None:
        missing("PostgreSQL is not installed (Debian package postgresql)")
    with running_postgres(found) as server:
        server.create("demo")
        url = server.url("demo").replace("tillmedic@", f"tillmedic:{DATABASE_PASSWORD}@")
        demo = Demo(tmp_path_factory.mktemp("secrets") / "state", database_url=url)
        try:
            demo.start()
            yield demo
        finally:
            demo.stop()


@pytest.fixture(scope="module")
def secrets(demo: Demo) -> dict[str, str]:
    """Used, each of them, so that whoever writes down too much has had the chance."""
    settings = tomllib.loads((demo.data / "server" / "fleet.toml").read_text("utf-8"))
    assert DATABASE_PASSWORD in settings["database_url"]
    made = {"database password": DATABASE_PASSWORD, "shared group": settings["ingest_group"].removeprefix("g-")}
    made |= of_files(demo.data)
    made |= {"API token": demo.facts["api_token"], "mistyped password": WRONG_PASSWORD}
    made |= {f"password of {user['name']}": user["password"] for user in demo.facts["users"]}
    made["token of the command line"] = issued_token(demo)
    body = {"serial_number": "SECRETS1", "model": "PAX A920", "terminal_class": "smart"}
    enrolled = demo.call("POST", "/api/v1/enrolments", body, **bearer(made["token of the command line"]))
    assert enrolled.status == 201, enrolled
    made["enrolment code"] = enrolled.body["code"]
    made |= of_a_person(demo)
    demo.call("GET", "/api/v1/devices", **bearer(made["token of the command line"] + "x"))
    assert demo.run("esign1", "agent.echo")["state"] == "SUCCEEDED"
    return made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def issued_token(demo: Demo) -> str:
    said = run_command("fleet_server", "token", "secrets", "--role", "operator", "--data", str(demo.data))
    found = re.search(r"tm_\S+", said.stdout)
    assert found is not None, said
    assert demo.call("GET", "/api/v1/devices", **bearer(found[0])).status == 200
    return found[0]


def of_a_person(demo: Demo) -> dict[str, str]:
    user = demo.user("support")
    Visitor(demo).post("/sign-in", name=user["name"], password=WRONG_PASSWORD)
    visitor = Visitor(demo)
    visitor.post("/sign-in", name=user["name"], password=user["password"])
    csrf = CSRF.search(visitor.get("/step-up"))
    assert csrf is not None
    visitor.post("/step-up", csrf=csrf[1], proof=user["password"])
    csrf = CSRF.search(visitor.get("/second-factor"))
    assert csrf is not None
    seed = "".join(TOTP_GROUP.findall(visitor.post("/second-factor/begin", csrf=csrf[1])))
    assert len(seed) == 32
    visitor.post("/second-factor", csrf=csrf[1], code="000000")
    cookies = {f"cookie {one.name}": one.value for one in visitor.cookies if one.value and len(one.value) >= 32}
    assert len(cookies) == 2  # of the session, and the mark of the browser
    return {**cookies, "TOTP seed": seed}


def test_no_process_says_a_secret(demo: Demo, secrets: dict[str, str]) -> None:
    # But for the demo's own command line, in which its user wrote the address of the database.
    pids = set(demo.processes()) - set(demo.processes("simulators", "demo"))
    assert len(pids) >= 8
    assert in_processes(secrets, pids) == {}


def test_no_log_and_no_file_that_others_may_read_has_a_secret(demo: Demo, secrets: dict[str, str]) -> None:
    logs = sorted((demo.data / "logs").glob("*.log"))
    assert len(logs) >= 5
    assert in_files(secrets, logs) == {}
    assert in_files(secrets, loose_files(demo.data)) == {}
    assert [path for path in loose_files(demo.data) if path.suffix in {".key", ".seed", ".db", ".toml"}] == [
        path for path in loose_files(demo.data) if path.name == "agent.toml"
    ]


def test_no_answer_has_a_secret(demo: Demo, secrets: dict[str, str]) -> None:
    visitor, operator = Visitor(demo), demo.user("operator")
    visitor.post("/sign-in", name=operator["name"], password=operator["password"])
    pages = {path: visitor.get(path) for path in PAGES}
    answers = {path: read(demo, path, secrets["token of the command line"]) for path in READ}
    assert "tillmedic_" in answers["/metrics"]
    assert operator["name"] in pages["/people"]
    found = {path: found_in(secrets, text.encode()) for path, text in {**pages, **answers}.items()}
    assert {path: names for path, names in found.items() if names} == {}


def read(demo: Demo, path: str, token: str) -> str:
    request = urllib.request.Request(demo.facts["url"] + path, headers=bearer(token))
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
        said: bytes = answer.read()
    return said.decode("utf-8")


@contextmanager
def leaky_process(secret: str, *, is_environment: bool) -> Iterator[int]:
    words = [] if is_environment else [f"--password={secret}"]
    # It says when it runs: a parent knows of the exec before the kernel has put the new words where /proc reads them.
    command = [sys.executable, "-c", "print('runs', flush=True); input()", *words]
    environment = {"LEAK": secret} if is_environment else {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"runs\n"
        yield process.pid
        process.communicate(b"\n")


def leak_in_file(folder: Path, written: str, mode: int) -> Path:
    path = folder / "leak.txt"
    path.write_text(written, "utf-8")
    path.chmod(mode)
    return path


def test_each_secret_is_found_where_it_was_leaked_by_hand(tmp_path: Path, secrets: dict[str, str]) -> None:
    assert len(secrets) > 30
    everything = " ".join(secrets.values())
    assert in_files(secrets, loose_files(tmp_path)) == {}
    leaked = leak_in_file(tmp_path, everything, 0o644)
    assert in_files(secrets, loose_files(tmp_path)) == {str(leaked): set(secrets)}
    leaked.chmod(0o600)
    assert in_files(secrets, loose_files(tmp_path)) == {}
    assert in_files(secrets, [leaked]) == {str(leaked): set(secrets)}
    for is_environment in (False, True):
        with leaky_process(everything, is_environment=is_environment) as pid:
            (found,) = in_processes(secrets, [pid]).values()
        assert found == set(secrets)


@pytest.mark.parametrize(
    "write",
    [
        lambda secret: f"?code={urllib.parse.quote(secret, safe='')}",
        lambda secret: secret.encode().hex(),
        lambda secret: base64.b64encode(secret.encode()).decode(),
        lambda secret: base64.b64encode(b"a" + secret.encode()).decode(),
        lambda secret: base64.b64encode(b"ab" + secret.encode()).decode(),
    ],
)
def test_a_secret_is_found_as_it_may_be_written(write: Callable[[str], str]) -> None:
    assert found_in({"one": DATABASE_PASSWORD, "two": WRONG_PASSWORD}, write(DATABASE_PASSWORD).encode()) == {"one"}
