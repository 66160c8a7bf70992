"""What a worker reads no more of, and what it still does when it is told to stop. The door is a list."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, Engine, event, select

from fleet_server.db import reading
from fleet_server.ingest import fair_queue, pacing
from fleet_server.ingest import worker as worker_module
from fleet_server.ingest.answers import Answers, Publication
from fleet_server.ingest.decode import decode, size_of
from fleet_server.ingest.door import Taken
from fleet_server.ingest.fair_queue import MAX_WAITING, Quota, Quotas
from fleet_server.ingest.models import StoredRecord
from fleet_server.ingest.worker import Worker
from fleet_server.mqtt import Received
from protocol import codec
from protocol.records import Outcome, Verdict
from protocol.signing import SigningKey
from tests.support.engines import postgres_engine
from tests.support.fleet_rows import OTHER, TERMINAL, make_fleet
from tests.support.flush_rig import FlushRig
from tests.support.ingest_worker import NothingToSend, until_all_are_told
from tests.support.postgres import PostgresServer


class ListDoor:
    """``told``: what was done, in its order; of what was published only where it went."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.coming: list[Taken] = []
        self.on_its_way: list[Taken] = []
        self.told: list[str] = []
        self.dropped = 0
        self.is_open = self.has_room = True
        self.is_retiring = False

    def take(self, _wait_s: float) -> list[Taken]:
        self.told.append("read")
        taken, self.coming = self.coming, []
        if self.is_retiring and not taken:
            taken, self.on_its_way, self.is_retiring = self.on_its_way, [], False
        return taken

    def publish(self, messages: Sequence[Publication]) -> None:
        self.told += [one.topic.rpartition("/")[2] for one in messages]

    def acknowledge(self, taken: Sequence[Taken]) -> None:
        self.told.append(f"puback {len(taken)}")

    def retire(self) -> None:
        self.told.append("retire")
        self.is_retiring = bool(self.on_its_way)

    def idle(self, wait_s: float) -> None:
        pass

    def close(self) -> None:
        self.told.append("close")


def stored(engine: Engine) -> int:
    with reading(engine) as session:
        return len(session.execute(select(StoredRecord)).all())


def worker_at(engine: Engine, door: ListDoor, quotas: Quotas = fair_queue.NO_QUOTAS) -> Worker:
    answers = Answers(SigningKey.from_seed(bytes(32)), "e" * 32)
    worker = Worker("svc-fleet-1", engine, door, answers, NothingToSend(), quotas)  # type: ignore[arg-type]  # a door as far as a worker knows it
    until_all_are_told(worker)
    door.told.clear()
    return worker


def verdicts(engine: Engine, link: str, count: int, first: int = 1) -> list[Taken]:
    """One message each."""
    record = codec.to_json(codec.from_json(FlushRig(engine).record(link, Verdict("net.path", Outcome.PASS)), object))
    payload = b'{"stream":"%s","first_seq":%d,"records":[%s]}'
    return [
        Taken(Received(f"fleet/v1/{link}/up/urgent", payload % (b"1" * 32, seq, record), None, seq, 1), 1)
        for seq in range(first, first + count)
    ]


def test_nothing_is_read_while_enough_waits(engine_on_file: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "MAX_COUNT", 3)
    monkeypatch.setattr(worker_module, "MAX_FLUSH_MESSAGES", 2)
    door = ListDoor(engine_on_file)
    worker = worker_at(engine_on_file, door)
    door.coming = verdicts(engine_on_file, TERMINAL, 6)
    worker.step()
    door.coming, door.told = verdicts(engine_on_file, TERMINAL, 6, first=7), []
    worker.step()
    assert "read" not in door.told, "four waited"
    assert len(door.coming) == 6
    worker.step()
    assert "read" in door.told, "two waited"
    for _ in range(5):
        worker.step()
    assert stored(engine_on_file) == 12


def test_the_broker_is_heard_between_two_transactions(engine_on_file: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says meanwhile, answers to welcomes among it, does not wait until all that was taken is stored."""
    door = ListDoor(engine_on_file)
    worker = worker_at(engine_on_file, door)
    door.coming = verdicts(engine_on_file, TERMINAL, 2)
    # Both are taken together, but one of them is enough for a transaction.
    monkeypatch.setattr(worker_module, "MAX_FLUSH_BYTES", size_of(decode(door.coming[0].message)))
    for _ in range(2):
        worker.step()
    assert [said for said in door.told if said.startswith(("read", "puback"))] == ["read", "puback 1"] * 2
    assert stored(engine_on_file) == 2


def test_acknowledgements_wait_joined_while_the_broker_takes_nothing(
    engine_on_file: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = ListDoor(engine_on_file)
    worker = worker_at(engine_on_file, door)
    door.has_room = False
    for seq in (1, 2):
        door.coming = verdicts(engine_on_file, TERMINAL, 1, first=seq)
        worker.step()
    assert stored(engine_on_file) == 2
    assert "ack" not in door.told
    door.has_room = True
    worker.step()
    assert door.told.count("ack") == worker.counters["acks"] == 1
    door.has_room = False
    door.coming = verdicts(engine_on_file, TERMINAL, 1, first=3)
    worker.step()
    monkeypatch.setattr(pacing, "KEPT_S", -1.0)
    worker.step()
    assert worker.counters["unsaid_acks"] == 1, "told late it would look as if the database had gone back"
    door.has_room = True
    worker.step()
    assert door.told.count("ack") == 1


def test_what_is_put_off_is_answered_to_the_broker_and_to_nobody_else(engine_on_file: Engine) -> None:
    door = ListDoor(engine_on_file)
    worker = worker_at(engine_on_file, door, Quotas(link=Quota(messages_per_s=0.001)))
    door.coming = verdicts(engine_on_file, TERMINAL, MAX_WAITING + 6)
    worker.step()
    assert door.told[:2] == ["read", "puback 6"], "the broker would hold its window for what nobody will answer"
    assert worker.counters["put_off"] == 6
    assert stored(engine_on_file) == MAX_WAITING


def test_who_is_told_to_stop_asks_for_no_more_stores_what_it_has_and_acknowledges_all_of_it(
    engine_on_file: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "MAX_FLUSH_MESSAGES", 2)
    door, stop = ListDoor(engine_on_file), threading.Event()
    worker = worker_at(engine_on_file, door)
    door.coming = verdicts(engine_on_file, TERMINAL, 7)
    worker.step()
    assert stored(engine_on_file) == 2
    door.on_its_way = verdicts(engine_on_file, OTHER, 3)
    door.told = []
    stop.set()
    worker.run(stop)
    assert stored(engine_on_file) == 10
    assert door.told[0] == "retire"
    assert door.told[-1] == "close"
    last_answer = len(door.told) - 1 - door.told[::-1].index("ack")
    last_puback = max(place for place, one in enumerate(door.told) if one.startswith("puback"))
    assert last_answer > last_puback, "what was gathered is told before the goodbye"


@pytest.mark.postgres
def test_a_database_that_lets_nobody_write_is_waited_for_and_no_message_is_blamed(
    postgres_server: PostgresServer,
) -> None:
    with postgres_engine(postgres_server) as engine:
        make_fleet(engine)
        door = ListDoor(engine)
        worker = worker_at(engine, door)
        # What it looks up now and then, in transactions that only read, is looked up.
        worker.step()
        door.coming = verdicts(engine, TERMINAL, 5)
        left = [3]

        @event.listens_for(engine, "begin")
        def _refuse(connection: Connection) -> None:
            if left[0] > 0:
                left[0] -= 1
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")

        worker.step()
        assert (stored(engine), worker.counters["retries"]) == (5, 3)
        assert not worker.counters.keys() & {"lost", "parked", "dead"}
