"""A backup is brought back while the server runs: pages are read meanwhile, nothing is written, all comes up again."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import pytest
from sqlmodel import select

from fleet_server.db import open_engine, reading
from fleet_server.ingest.models import ServerState
from fleet_server.settings import load_settings
from tests.fleet_server.enrollment.fleets import small_fleet
from tests.integration.test_server_run import PROGRAM, Server, wait_for
from tests.support.broker import free_port, running_mosquitto
from tests.support.engines import migrated_postgres, postgres_url
from tests.support.postgres import Durability

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    if request.param == "sqlite":
        yield from running(tmp_path, [])
        return
    with migrated_postgres(Durability.WHEN_KILLED) as postgres, postgres_url(postgres, "template1") as url:
        yield from running(tmp_path, ["--database-url", url])


def running(tmp_path: Path, more: list[str]) -> Iterator[Server]:
    (tmp_path / "fleet.json").write_text(json.dumps(small_fleet()), "utf-8")
    data = tmp_path / "data"
    ports = ["--mqtt-port", str(free_port()), "--http-port", str(free_port())]
    where = ["--data", str(data), "--fleet", str(tmp_path / "fleet.json")]
    made = subprocess.run(
        [*PROGRAM, "init", *where, *ports, *more, "--demo", "--json"], capture_output=True, check=True
    )
    installed = json.loads(made.stdout)
    with running_mosquitto(Path(installed["broker_config"]), installed["mqtt_port"]):
        process = subprocess.Popen([*PROGRAM, "run", "--data", str(data)], stdout=subprocess.PIPE, text=True)
        started = Server(data, installed, process)
        try:
            wait_for(lambda: started.get("/readyz")[0] == HTTPStatus.OK)
            yield started
        finally:
            process.terminate()
            process.communicate()


class Onlooker:
    """A person who looks at a page again and again, and a program that asks for runs; every answer is kept."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._host = urllib.parse.urlsplit(server.installed["url"]).netloc
        self._cookie = self._sign_in()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.pages: Counter[int] = Counter()
        self.writes: Counter[tuple[int, str]] = Counter()
        self.states: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _look(self) -> None:
        while not self._stop.is_set():
            self.pages[self._ask("GET", "/runs", {"Cookie": self._cookie, "Accept": "text/html"})[0]] += 1
            status, said = self._ask("GET", "/readyz", {})
            if status:
                self.states.add(said["database"]["state"])
            token = {
                "Authorization": f"Bearer {self._server.installed['api_token']}",
                "Content-Type": "application/json",
            }
            body = json.dumps({"device": "d-none", "action": "agent.echo"})
            status, said = self._ask("POST", "/api/v1/executions", token, body)
            self.writes[status, said.get("code", "")] += 1

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status 0: the process was being started again."""
        link = HTTPConnection(self._host, timeout=20)
        try:
            link.request(method, path, body, headers)
            answer = link.getresponse()
            text = answer.read()
            is_json = "json" in answer.headers.get("content-type", "")
            return answer.status, json.loads(text) if is_json else {}
        except OSError:
            return 0, {}
        finally:
            link.close()

    def _sign_in(self) -> str:
        person = next(one for one in self._server.installed["users"] if one["role"] == "operator")
        form = urllib.parse.urlencode({"name": person["name"], "password": person["password"]})
        link = HTTPConnection(self._host, timeout=30)
        link.request("POST", "/sign-in", form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = link.getresponse()
        assert answer.status == HTTPStatus.SEE_OTHER
        found = re.match(r"[^;]+", answer.headers["set-cookie"])
        link.close()
        assert found is not None
        return found[0]


def epoch(server: Server) -> str:
    engine = open_engine(load_settings(server.data).database_url)
    try:
        with reading(engine) as session:
            rows = {row.name: row.value for row in session.exec(select(ServerState)).all()}
        return json.dumps(rows["db_epoch"])
    finally:
        engine.dispose()


def test_a_restore_under_a_running_server_shows_pages_and_takes_nothing(server: Server, tmp_path: Path) -> None:
    backup, data = tmp_path / "backup", str(server.data)
    subprocess.run([*PROGRAM, "backup", str(backup), "--data", data], check=True, capture_output=True)
    wait_for(lambda: set(server.children()) == {"api", "ingest", "issuer", "scheduler", "signer"})
    before, epoch_before = server.children(), epoch(server)
    with Onlooker(server) as onlooker:
        done = subprocess.run(
            [*PROGRAM, "restore", str(backup), "--data", data, "--json"], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        wait_for(lambda: server.get("/readyz")[0] == HTTPStatus.OK and epoch(server) != epoch_before)
        # The signer's key is the one that the backup holds: it has nothing to begin anew with.
        anew = {name: pid for name, pid in before.items() if name != "signer"}
        wait_for(lambda: all(server.children().get(name, pid) != pid for name, pid in anew.items()))
        wait_for(lambda: server.get("/readyz")[0] == HTTPStatus.OK)
    assert not (server.data / "server" / "keys" / "command.seed").exists(), "it is the signer's alone"
    assert "restoring" in onlooker.states
    assert {status for status in onlooker.pages if status >= 500} <= {HTTPStatus.SERVICE_UNAVAILABLE}
    assert onlooker.pages[HTTPStatus.OK]
    assert {code for status, code in onlooker.writes if status >= 500} <= {"database_restoring", "database_away"}
    assert any(code == "database_restoring" for _, code in onlooker.writes), onlooker.writes
    assert json.loads(done.stdout)["db_epoch"] in epoch(server)
