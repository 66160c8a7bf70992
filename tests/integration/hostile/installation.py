"""The server's parts on a real broker and database with one link that is nothing but the wire, and who speaks to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import Engine

from fleet_server.auth.secret_box import new_key_line
from fleet_server.db import open_engine, transaction
from fleet_server.enrollment.private_files import write_private
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings
from tests.fleet_server.api import add_callers, bearer
from tests.fleet_server.console.examples import PASSWORD, add_people
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY
from tests.fleet_server.factories import add_fleet, device
from tests.fleet_server.factories import site as a_site
from tests.integration.server.conftest import running_http
from tests.support.broker import Broker
from tests.support.engines import migrated_sqlite
from tests.support.enrolling import prepare_installation
from tests.support.ingest_worker import running_ingest, settings_for, worker_on
from tests.support.issuer import local_issuer
from tests.support.signing import signer_with

DEADLINE_S = 120.0
# Devices that are there to be retired.
SPARE = ("d-spare-0000001", "d-spare-0000002")
# What forms of the console change, when programs have changed the other one.
OTHER_SITE = "s-other-0001"


@dataclass(frozen=True, slots=True)
class Installation:
    settings: ServerSettings
    broker: Broker
    url: str
    engine: Engine
    link: str
    site: str

    def client(self, role: str = "operator") -> httpx2.Client:
        """As a program."""
        return httpx2.Client(base_url=self.url, headers=bearer(role), timeout=DEADLINE_S)


class Person:
    """Somebody at the console, signed in and proved again."""

    def __init__(self, url: str, role: str = "operator") -> None:
        self.client = httpx2.Client(base_url=url, timeout=DEADLINE_S)
        answer = self.client.post("/sign-in", data={"name": role, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        self._csrf = self._read_csrf()
        assert self.post("/step-up", {"proof": PASSWORD}).status_code == 303

    def post(self, path: str, values: Mapping[str, Any]) -> httpx2.Response:
        return self.client.post(path, data={"csrf": self._csrf, **values})

    def close(self) -> None:
        self.client.close()

    def _read_csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.client.get("/account").text)
        assert found is not None
        return found[1]


def write_settings(settings: ServerSettings) -> None:
    """As the processes and commands of an installation read them."""
    values = {name: value for name, value in asdict(settings).items() if name != "data"}
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in values.items()]
    (settings.server_dir / "fleet.toml").write_text("".join(lines), "utf-8")


@contextmanager
def running_installation(broker: Broker, folder: Path) -> Iterator[Installation]:
    url = f"sqlite:///{migrated_sqlite(folder)}"
    settings = replace(
        settings_for(broker, folder, url),
        url="http://127.0.0.1",
        sign_in_without_second_factor=True,
        http_requests_per_s_per_address=0,
    )
    prepare_installation(settings)
    write_private(settings.people_key, new_key_line())
    # Its approver has signed nothing ahead of time: what changes a device waits for one.
    signer = signer_with(COMMAND_KEY, [("mei", APPROVER_KEY)])
    engine, of_api = open_engine(url), open_engine(url)
    with transaction(engine) as session:
        fleet = add_fleet(session, presence="unknown")
        add_people(session, utc_now())
        session.add(a_site(OTHER_SITE))
        session.add_all(device(id_, fleet.site) for id_ in SPARE)
    add_callers(engine)
    worker = worker_on(engine, settings, Dispatcher(signer))
    issuer = local_issuer(settings, utc_now)
    with running_ingest(worker), running_http(settings, of_api, signer, issuer) as address:
        write_settings(replace(settings, url=address))
        yield Installation(settings, broker, address, engine, fleet.gateway, fleet.site)
    of_api.dispose()
    engine.dispose()
