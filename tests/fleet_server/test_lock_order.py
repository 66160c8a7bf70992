"""Everybody who writes at once on PostgreSQL: the database never has to end a deadlock, and no caller sees a 500."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlmodel import select

from fleet_server.db import open_engine, reading, transaction
from fleet_server.devices.models import Device
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.models import Execution
from fleet_server.ingest.directory import Directory
from fleet_server.ingest.flush import Flush
from fleet_server.ingest.heard import Heard
from fleet_server.kit.times import utc_now
from fleet_server.scheduler import Scheduler
from protocol.executions import ExecutionState
from protocol.records import ExecutionReport, FaultCleared, FaultRaised, Outcome, RecordBody, Severity, Verdict
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY, Broker
from tests.fleet_server.factories import TENANT, capability, device, settings
from tests.support.engines import postgres_url
from tests.support.flush_rig import FlushRig
from tests.support.postgres import PostgresServer
from tests.support.signing import local_signer
from tests.support.wire_agent import until

pytestmark = pytest.mark.postgres
SECONDS = 4.0
# Ids of attached devices sort before, between and after those of their gateways.
LINKS = {"d-b-gateway": ("d-a-till", "d-c-till"), "d-e-gateway": ("d-d-till", "d-f-till")}
DEVICES = [*LINKS, *(one for attached in LINKS.values() for one in attached)]


@dataclass
class Crowd:
    """Threads that each repeat one deed until the time is over; the first error of any ends all of them."""

    errors: list[BaseException] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    def run(self, deeds: dict[str, Callable[[], None]]) -> None:
        threads = [threading.Thread(target=self._repeat, args=(name, deed)) for name, deed in deeds.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _repeat(self, name: str, deed: Callable[[], None]) -> None:
        stop_at, self.done[name] = time.monotonic() + SECONDS, 0
        while time.monotonic() < stop_at and not self.errors:
            try:
                deed()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test tells it in its own thread
                self.errors.append(error)
            self.done[name] += 1


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[Engine]:
    """A database of its own: PostgreSQL counts deadlocks a database, and other tests make some on purpose."""
    with postgres_url(postgres_server) as url:
        engine = open_engine(url)
        try:
            yield engine
        finally:
            engine.dispose()


def deadlocks(engine: Engine) -> int:
    """A backend may tell what it counted as late as at its end, so this waits for all of them."""
    engine.dispose()
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    counted = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        until(lambda: connection.execute(others).scalar_one() == 0, "the other backends to end")
        return int(connection.execute(counted).scalar_one())


@contextmanager
def api_of_two_links(postgres: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(postgres, tmp_path) as running:
        with transaction(postgres) as session:
            for link, attached in LINKS.items():
                session.add(device(link, running.fleet.site, kind="gateway", presence="online"))
                for id_ in attached:
                    more = {"kind": "attached", "link_id": link, "line": id_, "presence": "online"}
                    session.add(device(id_, running.fleet.site, **more))
            session.flush()
            for id_ in DEVICES:
                session.add(capability(id_, TENANT))
        yield running


def ingest(engine: Engine, dispatcher: Dispatcher, dice: random.Random) -> Callable[[], None]:
    """A worker of its own: flushes of hellos, endings, faults and reports in any order of links and devices."""
    rig = FlushRig(engine)
    directory, heard = Directory(), Heard()
    positions = dict.fromkeys(LINKS, 1)
    stream = f"{dice.getrandbits(128):032x}"

    def bodies(execution: str) -> list[RecordBody]:
        now_ms = rig.wall_ms()
        code = f"term.t{dice.randrange(3)}"
        return [
            FaultRaised(code, Severity.MAJOR, now_ms, now_ms),
            ExecutionReport(execution, dice.choice([ExecutionState.STORED, ExecutionState.RUNNING])),
            Verdict("net.path", Outcome.PASS, execution=execution),
            FaultCleared(code, now_ms, now_ms + 1),
        ]

    def flush() -> None:
        rig.now = utc_now()
        with reading(engine) as session:
            open_ = select(Execution.id, Execution.device_id, Execution.link_id).where(Execution.is_final.is_(False))  # type: ignore[attr-defined]  # SQLModel types columns as their values
            known = [tuple(row) for row in session.exec(open_.limit(40))]
        messages = []
        for link in dice.sample(list(LINKS), len(LINKS)):
            mine = [(id_, of) for id_, of, through in known if through == link] or [(str(uuid.uuid4()), link)]
            sent = [rig.record(of, body) for id_, of in dice.sample(mine, min(3, len(mine))) for body in bodies(id_)]
            messages.append(rig.batch(link, positions[link], *sent, stream=stream))
            positions[link] += len(sent)
            session_id = f"{dice.getrandbits(128):032x}"
            messages.append(rig.hello(link, session_id, alive=LINKS[link]))
            if dice.random() < 0.3:
                messages.append(rig.presence(link, session_id))
        dice.shuffle(messages)
        with transaction(engine) as session:
            Flush(session, directory, heard, dispatcher, rig.now, time.monotonic()).run(messages)

    return flush


def miss_and_sweep(api: Api, dispatcher: Dispatcher, folder: Path) -> Callable[[], None]:
    """A scheduler for whom everything is always due: deadlines, silence, conditions."""
    ahead = timedelta(0)

    def clock() -> object:
        return utc_now() + ahead

    scheduler = Scheduler(api.engine, settings(folder), dispatcher, Broker(), clock)  # type: ignore[arg-type]  # moments, as the clock's own type says

    def sweep() -> None:
        nonlocal ahead
        ahead += timedelta(minutes=2)
        for chore in scheduler._chores:
            if chore.name in {"executions", "presence", "conditions", "gaps"}:
                scheduler._piece(chore, scheduler._own)

    return sweep


def ask(api: Api, dice: random.Random) -> Callable[[], None]:
    def request() -> None:
        body = {"device": dice.choice(DEVICES), "action": dice.choice(["agent.echo", "net.path", "app.restart"])}
        answer = api.post("/api/v1/executions", body)
        assert answer.status_code in {201, 429}, answer.text

    return request


def cancel(api: Api, dice: random.Random) -> Callable[[], None]:
    def withdraw() -> None:
        items = api.get("/api/v1/executions", open=True, limit=20).json().get("items", [])
        if items:
            answer = api.post(f"/api/v1/executions/{dice.choice(items)['id']}/cancel")
            assert answer.status_code in {200, 409, 429}, answer.text

    return withdraw


def test_whoever_writes_waits_for_the_others_and_none_is_ended_by_a_deadlock(postgres: Engine, tmp_path: Path) -> None:
    dispatcher = Dispatcher(local_signer(COMMAND_KEY, APPROVER_KEY))
    crowd = Crowd()
    with api_of_two_links(postgres, tmp_path) as api:
        deeds = {f"ingest {seed}": ingest(postgres, dispatcher, random.Random(seed)) for seed in (1, 2)}
        deeds |= {f"ask {seed}": ask(api, random.Random(seed)) for seed in (3, 4)}
        deeds |= {"cancel": cancel(api, random.Random(5)), "sweep": miss_and_sweep(api, dispatcher, tmp_path)}
        crowd.run(deeds)
    assert not crowd.errors, crowd.errors
    assert min(crowd.done.values()) > 0, crowd.done
    assert deadlocks(postgres) == 0
    with reading(postgres) as session:
        moved = session.exec(select(Device).where(Device.id == "d-b-gateway")).one()
    assert moved.command_counter > 0
