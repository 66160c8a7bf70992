"""An execution service on each database, with a broker that writes down what was published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.db import transaction
from fleet_server.devices.repository import DeviceRepository
from fleet_server.devices.service import DeviceService
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.outbound import Outbound
from fleet_server.executions.service import ExecutionService
from protocol import codec
from protocol.commands import COMMAND_TYPE, Command
from protocol.errors import Malformed
from protocol.signing import SigningKey, open_envelope, public_keys
from tests.fleet_server.factories import TENANT, Fleet, add_fleet
from tests.support.signing import local_signer

COMMAND_KEY = SigningKey.from_seed(b"c" * 32)
APPROVER_KEY = SigningKey.from_seed(b"a" * 32)
Message = TypeVar("Message")


@dataclass
class Broker:
    """What was published, in order; connected unless told otherwise."""

    is_connected: bool = True
    published: list[tuple[str, bytes]] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes, qos: int, content_type: str = codec.JSON) -> bool:
        self.published.append((topic, payload))
        return self.is_connected

    def commands(self) -> list[tuple[str, Command]]:
        sent = [(topic, payload) for topic, payload in self.published if topic.endswith("/down/command")]
        return [(topic, opened(payload, COMMAND_TYPE, COMMAND_KEY, Command)) for topic, payload in sent]


def opened(payload: bytes, payload_type: str, key: SigningKey, kind: type[Message]) -> Message:
    envelope = open_envelope(payload, payload_type, public_keys([key.public_hex]))
    assert not isinstance(envelope, Malformed)
    value = codec.from_json(envelope.payload, kind)
    assert not isinstance(value, Malformed)
    return value


@dataclass
class Desk:
    engine: Engine
    fleet: Fleet
    broker: Broker
    dispatcher: Dispatcher
    wakes: list[int] = field(default_factory=list)

    def service(self, session: Session, tenant: str = TENANT) -> ExecutionService:
        devices = DeviceService(DeviceRepository(session, tenant))
        outbound = Outbound(self.broker, lambda: self.wakes.append(1))
        return ExecutionService(session, tenant, devices, self.dispatcher, outbound)

    @contextmanager
    def opened(self, tenant: str = TENANT) -> Iterator[ExecutionService]:
        with transaction(self.engine) as session:
            yield self.service(session, tenant)


@pytest.fixture
def desk(engine: Engine, tmp_path: Path) -> Desk:
    with transaction(engine) as session:
        fleet = add_fleet(session)
    signer = local_signer(COMMAND_KEY, APPROVER_KEY)
    return Desk(engine, fleet, Broker(), Dispatcher(signer, jitter=lambda: 0.0))
