"""``fleet-server api`` itself, started while its PostgreSQL is down: it serves what it can, and goes on by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from fleet_server.auth.passwords import Passwords
from fleet_server.enrollment.installation import Installation, install
from fleet_server.enrollment.settings_file import Wishes
from fleet_server.kit.times import utc_now
from tests.support.broker import free_port
from tests.support.engines import migrated_postgres
from tests.support.postgres import Durability, PostgresServer, binaries
from tests.support.standby import running_standby, wait_until_followed
from tests.support.wire_agent import until

# Of somebody who was signed in before; whose it is cannot be asked now.
COOKIE = "tillmedic=" + "s" * 43

pytestmark = [pytest.mark.integration, pytest.mark.postgres]


@pytest.fixture
def primary() -> Iterator[PostgresServer]:
    with migrated_postgres(Durability.WHEN_KILLED) as server:
        server.create("fleet", "template1")
        yield server


@pytest.fixture
def installed(primary: PostgresServer, tmp_path: Path) -> Installation:
    wishes = Wishes(database_url=primary.url("fleet"), mqtt_port=free_port(), http_port=free_port(), demo=True)
    return install(tmp_path / "data", wishes, None, utc_now(), Passwords.cheap())


@contextmanager
def api_of(made: Installation) -> Iterator[httpx2.Client]:
    process = subprocess.Popen([sys.executable, "-m", "fleet_server", "api", "--data", str(made.settings.data)])
    headers = {"Authorization": f"Bearer {made.api_token}"}
    try:
        with httpx2.Client(base_url=made.settings.url, headers=headers, timeout=10) as http:
            yield http
            assert process.poll() is None
    finally:
        process.terminate()
        process.wait(20)


def answers(ask: Callable[[], int | str], wanted: int | str) -> Callable[[], bool]:
    """Refused connections are none yet: between its two lives nobody listens for a moment."""

    def is_so() -> bool:
        try:
            return ask() == wanted
        except httpx2.TransportError:
            return False

    return is_so


def test_it_says_so_and_opens_when_the_database_comes(primary: PostgresServer, installed: Installation) -> None:
    primary.kill()
    with api_of(installed) as http:
        until(answers(lambda: http.get("/healthz").status_code, 200), "the process to serve")
        page = http.get("/", headers={"accept": "text/html", "accept-language": "en", "cookie": COOKIE})
        refused = http.get("/api/v1/devices")
        primary.start()
        until(answers(lambda: http.get("/api/v1/devices").status_code, 200), "the database to be used")
    assert (page.status_code, "The database cannot be reached just now" in page.text) == (503, True)
    assert (refused.status_code, refused.json()["code"]) == (503, "database_away")


def test_it_reads_from_the_standby_of_its_settings(primary: PostgresServer, installed: Installation) -> None:
    bin_dir = binaries()
    assert bin_dir is not None
    with running_standby(bin_dir, primary) as standby:
        wait_until_followed(primary, standby)
        file = installed.settings.server_dir / "fleet.toml"
        said = file.read_text("utf-8")
        assert 'read_database_url = ""' in said
        named = f'read_database_url = "{standby.url("fleet")}"'
        file.write_text(said.replace('read_database_url = ""', named), "utf-8")
        primary.kill()
        with api_of(installed) as http:
            until(answers(lambda: http.get("/api/v1/devices").status_code, 200), "the standby to be read")
            assert http.get("/readyz").json()["database"]["reads"] == "standby"
            primary.start()
            until(answers(lambda: str(http.get("/readyz").json()["database"]["reads"]), "primary"), "the primary")
