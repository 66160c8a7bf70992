"""The drill: an agent with its spool reports, a backup is made, more is reported, and the backup is brought back. Then
everything is there exactly once, and the next command is obeyed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine
from sqlmodel import select

from device_agent.bootstrap import Agent, build
from device_agent.config import load
from fleet_server.auth.passwords import Passwords
from fleet_server.backup import make_backup
from fleet_server.db import open_engine, reading
from fleet_server.enrollment.installation import Installation, install
from fleet_server.enrollment.settings_file import Wishes
from fleet_server.enrollment.signer_folder import adopt_command_key
from fleet_server.ingest.bootstrap import make_worker
from fleet_server.ingest.models import StoredRecord
from fleet_server.kit.times import utc_now
from fleet_server.restore import restore
from fleet_server.settings import ServerSettings, load_settings
from fleet_server.signer.bootstrap import signer_client
from fleet_server.timeline.models import Event
from protocol.streams import StreamKind
from tests.fleet_server.enrollment.fleets import small_fleet
from tests.integration.server.conftest import running_http
from tests.support.broker import free_port, running_mosquitto
from tests.support.engines import postgres_url
from tests.support.ingest_worker import running_ingest
from tests.support.signing import running_signer
from tests.support.wire_agent import until

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def installed(request: pytest.FixtureRequest, short_folder: Path) -> Iterator[Installation]:
    if request.param == "sqlite":
        yield make_installation(short_folder, None)
    else:
        with postgres_url(request.getfixturevalue("postgres_server"), "template1") as url:
            yield make_installation(short_folder, url)


def make_installation(folder: Path, url: str | None) -> Installation:
    fleet = folder / "fleet.json"
    fleet.write_text(json.dumps(small_fleet()), "utf-8")
    wishes = Wishes(database_url=url, mqtt_port=free_port(), demo=True)
    return install(folder / "data", wishes, fleet, utc_now(), Passwords.cheap())


@pytest.fixture
def agent(installed: Installation) -> Iterator[Agent]:
    with running_agent(installed) as agent:
        yield agent


@contextmanager
def running_agent(installed: Installation) -> Iterator[Agent]:
    """On its broker from the beginning to the end, whatever becomes of the server."""
    bundle = installed.devices["esign1"].bundle
    assert bundle is not None
    config = bundle / "agent.toml"
    config.write_text('enrolment = "."\nprofile = "demo"\n[host]\nkind = "none"\n', "utf-8")
    with running_mosquitto(installed.broker_config, installed.settings.mqtt_port):
        agent = build(load(config))
        thread = threading.Thread(target=agent.run)
        thread.start()
        try:
            yield agent
        finally:
            agent.stop()
            thread.join()


@dataclass(frozen=True, slots=True)
class Desk:
    http: httpx2.Client
    engine: Engine
    device: str

    def echo(self) -> dict[str, Any]:
        """Runs a check to its verdict: some records more."""
        asked = self.http.post("/api/v1/executions", json={"device": self.device, "action": "agent.echo"})
        assert asked.status_code == 201, asked.text
        done: dict[str, Any] = {}

        def is_over() -> bool:
            time.sleep(0.02)
            done.update(self.http.get(f"/api/v1/executions/{asked.json()['id']}").json())
            return done["state"] not in {"QUEUED", "PUBLISHED", "STORED", "RUNNING", "VERIFYING"}

        until(is_over, "the check to end")
        return done


@contextmanager
def running(settings: ServerSettings, token: str, device: str) -> Iterator[Desk]:
    engine = open_engine(settings.database_url)
    adopt_command_key(settings)
    with (
        running_signer(settings.signer_dir),
        make_worker(settings, "svc-fleet-1") as worker,
        running_ingest(worker),
        running_http(settings, engine, signer_client(settings)) as url,
        httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20) as http,
    ):
        yield Desk(http, engine, device)
    engine.dispose()


def numbers(engine: Engine, stream: str) -> list[int]:
    with reading(engine) as session:
        return sorted(session.exec(select(StoredRecord.seq).where(StoredRecord.stream == stream)))


def test_after_a_restore_agents_fill_the_gap_and_obey(installed: Installation, agent: Agent, tmp_path: Path) -> None:
    data, device, token = installed.settings.data, installed.devices["esign1"].id, installed.api_token or ""
    with running(installed.settings, token, device) as desk:
        until(lambda: desk.http.get(f"/api/v1/devices/{device}").json()["capabilities"]["checks"], "the agent")
        told = [desk.echo()["state"] for _ in range(3)]
        make_backup(data, tmp_path / "backup", utc_now(), lambda _line: None)
        told += [desk.echo()["state"] for _ in range(3)]
        outbox = agent.runner.core.outbox
        until(lambda: all(not outbox.in_flight(kind) for kind in StreamKind), "all to be acknowledged")
    before = outbox.db_epoch
    restored = restore(data, tmp_path / "backup", None, utc_now(), lambda _line: None)
    with running(load_settings(data), token, device) as desk:
        # The restored database knows nothing of three commands that the agent has obeyed.
        told.append(desk.echo()["state"])
        until(lambda: outbox.db_epoch == restored.db_epoch, "the agent to see the new epoch")
        urgent = agent.spool.positions()[StreamKind.URGENT]
        wanted = list(range(1, urgent.last + 1))
        until(lambda: numbers(desk.engine, urgent.stream) == wanted, "the gap to be filled")
        with reading(desk.engine) as session:
            events = session.exec(select(Event).where(Event.type == "verdict")).all()
    assert told == ["SUCCEEDED"] * 7
    assert before != restored.db_epoch
    assert len({event.data["execution"] for event in events}) == len(events) == 7
