"""An ingest worker of a test's own, in its process or as a child process."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.db import transaction
from fleet_server.executions.dispatch import Outgoing
from fleet_server.ingest.answers import Answers
from fleet_server.ingest.bootstrap import quotas_of
from fleet_server.ingest.door import Door
from fleet_server.ingest.flush import Dispatch
from fleet_server.ingest.installation import db_epoch
from fleet_server.ingest.worker import Worker
from fleet_server.settings import ServerSettings
from protocol.signing import SigningKey
from tests.support.broker import Broker

SERVICE = "svc-fleet-1"


class NothingToSend:
    """For tests without executions."""

    def take_for_link(self, session: Session, link_id: str, now: datetime) -> Sequence[Outgoing]:
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
        epoch = db_epoch(session)
    answers = Answers(SigningKey.from_seed(bytes(32)), epoch)
    return Worker(name, engine, Door(settings, name), answers, dispatch or NothingToSend(), quotas_of(settings))
