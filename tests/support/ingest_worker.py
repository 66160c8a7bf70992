"""An ingest worker of a test's own, in its process or as a child process, and the fleet it serves."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from math import inf
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.db import open_engine, reading, transaction
from fleet_server.executions.dispatch import Outgoing
from fleet_server.ingest import installation
from fleet_server.ingest.answers import Answers
from fleet_server.ingest.bootstrap import quotas_of
from fleet_server.ingest.door import Door
from fleet_server.ingest.flush import Dispatch
from fleet_server.ingest.worker import Worker
from fleet_server.settings import ServerSettings
from protocol.signing import SigningKey
from tests.support.broker import Broker
from tests.support.engines import migrated_sqlite
from tests.support.fleet_rows import make_fleet

SERVICE = "svc-fleet-1"
_REPOSITORY = Path(__file__).parents[2]


class NothingToSend:
    """For tests without executions."""

    def take_for_link(self, session: Session, tenant_id: str, link_id: str, now: datetime) -> Sequence[Outgoing]:
        return []


def settings_for(broker: Broker, folder: Path, database_url: str = "") -> ServerSettings:
    server = folder / "server"
    server.mkdir(parents=True, exist_ok=True)
    (server / "tls").symlink_to(broker.tls_dir)
    return ServerSettings(
        data=folder,
        database_url=database_url,
        mqtt_host=broker.host,
        mqtt_port=broker.port,
        http_host="127.0.0.1",
        http_port=0,
        url="",
        ingest_group=f"g-{secrets.token_hex(16)}",
        tenant="default",
        demo=True,
    )


def worker_on(
    engine: Engine, settings: ServerSettings, dispatch: Dispatch | None = None, *, name: str = SERVICE
) -> Worker:
    with transaction(engine) as session:
        epoch = installation.db_epoch(session)
    answers = Answers(SigningKey.from_seed(bytes(32)), epoch)
    return Worker(name, engine, Door(settings, name), answers, dispatch or NothingToSend(), quotas_of(settings))


def until_all_are_told(worker: Worker) -> None:
    """Steps of a worker whose door is open, to where it has told every link that it listens."""
    worker.step()
    while worker._comeback.wait_s(time.monotonic()) < inf:
        worker.step()
    worker._saved_s = -inf


@contextmanager
def fleet_on_sqlite(folder: Path) -> Iterator[Engine]:
    """A database file in ``folder`` with the usual fleet."""
    engine = open_engine(f"sqlite:///{migrated_sqlite(folder)}")
    make_fleet(engine)
    yield engine
    engine.dispose()


@contextmanager
def running_ingest(worker: Worker) -> Iterator[None]:
    """In a thread of this process; told to stop in the end."""
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def start_ingest(settings: ServerSettings) -> subprocess.Popen[bytes]:
    """A process of its own, for the caller to end."""
    file = settings.data / "settings.json"
    file.write_text(json.dumps(asdict(settings), default=str), "utf-8")
    return subprocess.Popen([sys.executable, "-m", "tests.support.ingest_child", str(file)], cwd=_REPOSITORY)


def listening_workers(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return [name for name, value in installation._workers(session).items() if value["listening_since"]]
