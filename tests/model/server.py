"""The server's side of the pipe: the real ingest worker on a real SQLite file, with a door into the broker in memory.

It can be killed before its commit, after it, or after its answers; its database can be away, and can go back to an
older state. Every acknowledgement is held against what is committed at the moment it is said.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar
from unittest.mock import patch

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from fleet_server.db import open_engine, transaction
from fleet_server.ingest import worker as worker_module
from fleet_server.ingest.answers import Answers, Publication
from fleet_server.ingest.door import Taken
from fleet_server.ingest.installation import db_epoch
from fleet_server.ingest.worker import Worker
from protocol import codec
from protocol.errors import Malformed
from protocol.session import Welcome
from protocol.signing import ACK_TYPE, WELCOME_TYPE, open_envelope, public_keys
from protocol.streams import Ack, StreamAck
from protocol.topics import Down
from tests.device_agent.core.rig import Clock
from tests.device_agent.core.test_command_gate import OTHER_KEY as SERVER_KEY
from tests.model.broker import Broker
from tests.model.ledger import Ledger, Place
from tests.support.ingest_worker import NothingToSend

SERVER_START = datetime.fromisoformat("2027-03-02T04:00:00+00:00")
_EVERYTHING = 1_000_000
T = TypeVar("T", Ack, Welcome)


class Death(Enum):
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit, nothing said"
    AFTER_ANSWERS = "after the answers, the broker not told"


class Killed(BaseException):
    """As `kill -9`: nothing of the worker runs any more, so no handler of its own may catch it."""


class BrokerDoor:
    """What `fleet_server.ingest.door.Door` is to a worker."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.most = _EVERYTHING
        self.is_open = self.has_room = True
        self.dropped = 0

    def take(self, _wait_s: float) -> list[Taken]:
        return self._server.broker.hand_out(self.most)

    def publish(self, messages: Sequence[Publication]) -> None:
        self._server.dies_at(Death.AFTER_COMMIT)
        for one in messages:
            self._server.check_promise(one)
            self._server.broker.publish_down(one)

    def acknowledge(self, taken: Sequence[Taken]) -> None:
        self._server.dies_at(Death.AFTER_ANSWERS)
        self._server.broker.answered(list(taken))

    def idle(self, wait_s: float) -> None:
        self._server.clock.pass_s(wait_s)

    def close(self) -> None:
        self._server.broker.take_back()


class Server:
    def __init__(self, template: Path, folder: Path, broker: Broker, clock: Clock) -> None:
        self.broker = broker
        self.clock = clock
        self._path = folder / "fleet.db"
        self._backup = folder / "backup.db"
        shutil.copyfile(template, self._path)
        shutil.copyfile(template, self._backup)
        self.broken_promises: list[str] = []
        self.first_keys: dict[Place, Place] = {}
        self._death: Death | None = None
        self._refusals = 0
        self.ledger = Ledger(self._path)
        self._engine, self._door, self._worker = self._start()

    @property
    def now(self) -> datetime:
        return SERVER_START + timedelta(seconds=self.clock.seconds)

    def take(self, most: int = _EVERYTHING) -> None:
        self._door.most = most
        self._step()

    def die(self, death: Death) -> None:
        """In the midst of the next messages, if there are any; a new worker takes its place."""
        self._death = death
        self._step()
        self._death = None
        self.restart()

    def refuse(self, commits: int) -> None:
        """The database takes nothing for so many tries."""
        self._refusals = commits
        self._step()
        self._refusals = 0

    def restart(self) -> None:
        self._stop()
        self._engine, self._door, self._worker = self._start()

    def back_up(self) -> None:
        with closing(sqlite3.connect(self._path)) as source, closing(sqlite3.connect(self._backup)) as copy:
            source.backup(copy)

    def restore(self, *, is_said: bool) -> None:
        """An older state comes back; whoever restores a backup gives the database a new epoch."""
        self._stop()
        with closing(sqlite3.connect(self._backup)) as source, closing(sqlite3.connect(self._path)) as copy:
            source.backup(copy)
            if is_said:
                copy.execute("DELETE FROM server_state WHERE name = 'db_epoch'")
                copy.commit()
        self.ledger.reopen()
        self._engine, self._door, self._worker = self._start()

    def close(self) -> None:
        self._engine.dispose()
        self.ledger.close()

    def dies_at(self, death: Death) -> None:
        if self._death is death:
            self._death = None
            raise Killed

    def check_promise(self, said: Publication) -> None:
        """No acknowledgement reaches beyond what is committed without a hole."""
        link = said.topic.split("/")[2]
        for one in _acknowledgements(said):
            committed = self.ledger.contiguous(link, one.stream, self.first_keys)
            if one.upto > committed:
                # Not raised here: the worker would take it for a fault of the message.
                self.broken_promises.append(f"{one.upto} of {one.stream} acknowledged, {committed} committed")

    def _step(self) -> None:
        clock = SimpleNamespace(monotonic=lambda: self.clock.seconds)
        try:
            with patch.multiple(worker_module, time=clock, utc_now=lambda: self.now):
                self._worker.step()
        except Killed:
            self.restart()
        self.ledger.read()

    def _start(self) -> tuple[Engine, BrokerDoor, Worker]:
        engine = open_engine(f"sqlite:///{self._path}")
        with transaction(engine) as session:
            epoch = db_epoch(session)
        event.listen(engine, "commit", self._on_commit)
        door = BrokerDoor(self)
        worker = Worker("svc-fleet-1", engine, door, Answers(SERVER_KEY, epoch), NothingToSend())  # type: ignore[arg-type]  # a door as far as a worker knows it
        return engine, door, worker

    def _stop(self) -> None:
        self._engine.dispose()
        self.broker.take_back()

    def _on_commit(self, _connection: object) -> None:
        self.dies_at(Death.BEFORE_COMMIT)
        if self._refusals:
            self._refusals -= 1
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("database or disk is full"))


def _acknowledgements(said: Publication) -> list[StreamAck]:
    match said.topic.rsplit("/", 1)[-1]:
        case Down.ACK:
            return _opened(said, ACK_TYPE, Ack).streams
        case Down.WELCOME:
            return _opened(said, WELCOME_TYPE, Welcome).ack.streams
        case _:
            return []


def _opened(said: Publication, payload_type: str, kind: type[T]) -> T:
    plain = codec.inflate(said.payload, said.content_type)
    assert not isinstance(plain, Malformed)
    opened = open_envelope(plain, payload_type, public_keys([SERVER_KEY.public_hex]))
    assert not isinstance(opened, Malformed)
    answer = codec.from_json(opened.payload, kind)
    assert not isinstance(answer, Malformed)
    return answer
