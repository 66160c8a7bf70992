"""What a worker does when all is well, when a message is poison, and when the database is away. The door is a list."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from math import inf

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from fleet_server.db import reading, transaction
from fleet_server.executions.dispatch import Outgoing
from fleet_server.ingest import pacing
from fleet_server.ingest import worker as worker_module
from fleet_server.ingest.answers import Answers, Publication
from fleet_server.ingest.door import Taken
from fleet_server.ingest.installation import listening_s, read_counters, save_worker
from fleet_server.ingest.models import DeadLetter, StoredRecord
from fleet_server.ingest.worker import Worker
from fleet_server.kit.times import utc_now
from fleet_server.mqtt import Received
from protocol import codec
from protocol.records import FaultRaised, Severity
from protocol.signing import SigningKey
from protocol.topics import EVENTS, WATCH
from tests.support.fleet_rows import GATEWAY, OTHER, STRANGER, TERMINAL
from tests.support.flush_rig import FlushRig
from tests.support.ingest_worker import until_all_are_told


class ListDoor:
    """Notes in which order things were published and acknowledged, and what was committed by then."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.coming: list[Taken] = []
        self.told: list[str] = []
        self.dropped = 0
        self.is_open = self.has_room = True

    def take(self, _wait_s: float) -> list[Taken]:
        taken, self.coming = self.coming, []
        return taken

    def publish(self, messages: Sequence[Publication]) -> None:
        for one in messages:
            self.told.append(f"{one.topic} qos{one.qos} after {count(self._engine)}")

    def acknowledge(self, taken: Sequence[Taken]) -> None:
        self.told.append(f"puback {len(taken)} after {count(self._engine)}")

    def idle(self, wait_s: float) -> None:
        pass

    def close(self) -> None:
        self.told.append("closed")
        self.is_open = False


class Poison:
    """A dispatch that one link's hello sets off."""

    def take_for_link(self, session: Session, tenant_id: str, link_id: str, now: datetime) -> Sequence[Outgoing]:
        if link_id == OTHER:
            raise RuntimeError("a bug of ours")
        return []


def unasked(door: ListDoor) -> set[str]:
    """Links that were told that somebody listens again."""
    return {line.split("/")[2] for line in door.told if "/down/ack qos0" in line}


def count(engine: Engine) -> int:
    with reading(engine) as session:
        return len(session.execute(select(StoredRecord)).all())


@pytest.fixture
def door(engine_on_file: Engine) -> ListDoor:
    return ListDoor(engine_on_file)


@pytest.fixture
def worker(engine_on_file: Engine, door: ListDoor) -> Worker:
    answers = Answers(SigningKey.from_seed(bytes(32)), "e" * 32)
    made = Worker("svc-fleet-1", engine_on_file, door, answers, Poison())  # type: ignore[arg-type]  # a door as far as a worker knows it
    until_all_are_told(made)
    door.told.clear()
    return made


def urgent(rig: FlushRig, link: str, first: int, count: int = 1) -> Taken:
    bodies = [
        FaultRaised("escpos.PAPER_OUT", Severity.MAJOR, rig.wall_ms() + n, rig.wall_ms() + n) for n in range(count)
    ]
    records = [codec.to_json(codec.from_json(rig.record(link, body), object)) for body in bodies]
    payload = b'{"stream":"%s","first_seq":%d,"records":[%s]}' % (b"1" * 32, first, b",".join(records))
    return Taken(Received(f"fleet/v1/{link}/up/urgent", payload, None, first, 1), 1)


def greeting(rig: FlushRig, link: str, came_s: float = inf) -> Taken:
    return Taken(Received(f"fleet/v1/{link}/up/hello", codec.to_json(rig.hello(link).hello), None, 9, 1), 1, came_s)


def test_everything_is_told_after_the_commit_and_the_broker_last(
    engine_on_file: Engine, door: ListDoor, worker: Worker
) -> None:
    rig = FlushRig(engine_on_file)
    door.coming = [greeting(rig, TERMINAL), urgent(rig, TERMINAL, 1)]
    worker.step()
    assert door.told == [
        f"{EVENTS} qos0 after 1",
        f"fleet/v1/{TERMINAL}/down/welcome qos1 after 1",
        f"fleet/v1/{TERMINAL}/down/ack qos1 after 1",
        "puback 2 after 1",
    ]


def test_how_long_a_hello_waited_here_is_no_fault_of_its_clock(
    engine_on_file: Engine, door: ListDoor, worker: Worker
) -> None:
    rig = FlushRig(engine_on_file)
    offsets = []
    for waited_s in (0, 3600):
        door.coming = [greeting(rig, TERMINAL, time.monotonic() - waited_s)]
        worker.step()
        offsets.append(rig.device(TERMINAL).clock_offset_ms or 0)
    assert 3_500_000 < offsets[1] - offsets[0] < 3_700_000


def test_a_message_that_sets_off_a_bug_is_parked_and_the_others_are_served(
    engine_on_file: Engine, door: ListDoor, worker: Worker
) -> None:
    rig = FlushRig(engine_on_file)
    door.coming = [urgent(rig, TERMINAL, 1), greeting(rig, OTHER), urgent(rig, TERMINAL, 2), urgent(rig, OTHER, 1)]
    worker.step()
    assert count(engine_on_file) == 3
    assert worker.counters["parked"] == 1
    assert door.told[-1] == "puback 4 after 3"
    with reading(engine_on_file) as session:
        assert session.execute(select(DeadLetter)).scalar_one().reason == "unprocessable"


def _fail_commits(engine: Engine, times: int) -> None:
    left = [times]

    @event.listens_for(engine, "commit")
    def _refuse(_connection: object) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise OperationalError("COMMIT", None, Exception("disk is full"))


def test_while_the_database_is_away_nothing_is_told_and_nothing_is_lost(
    engine_on_file: Engine, door: ListDoor, worker: Worker
) -> None:
    rig = FlushRig(engine_on_file)
    door.coming = [urgent(rig, TERMINAL, 1, 3)]
    _fail_commits(engine_on_file, 4)
    worker.step()
    assert (count(engine_on_file), worker.counters["retries"], worker.counters["parked"]) == (3, 4, 0)
    assert door.told[0] == f"{EVENTS} qos0 after 3"


def test_messages_are_given_back_when_the_database_stays_away(
    engine_on_file: Engine, door: ListDoor, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "GIVE_UP_S", 0.0)
    rig = FlushRig(engine_on_file)
    door.coming = [urgent(rig, TERMINAL, 1)]
    _fail_commits(engine_on_file, 1000)
    worker.step()
    assert (door.told, worker.counters["given_back"]) == (["closed"], 1)


def watched(*links: str) -> list[Taken]:
    return [Taken(Received(WATCH, b'{"link":"%s","for_s":20}' % link.encode(), None, 0, 0), 1) for link in links]


def test_what_was_never_committed_is_not_remembered(
    engine_on_file: Engine, door: ListDoor, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "GIVE_UP_S", 0.0)
    rig = FlushRig(engine_on_file)
    door.coming = [greeting(rig, TERMINAL)]
    _fail_commits(engine_on_file, 1)
    worker.step()
    assert door.told == ["closed"]
    # As far as the database knows this one has never said hello.
    door.coming = watched(TERMINAL)
    worker.step()
    assert door.told[1:] == ["puback 1 after 0"]


def test_links_that_are_watched_are_asked_to_speak_and_strangers_are_not(
    engine_on_file: Engine, door: ListDoor, worker: Worker
) -> None:
    rig = FlushRig(engine_on_file)
    door.coming = [greeting(rig, TERMINAL)]
    worker.step()
    door.told.clear()
    # One has never said hello, one is not enrolled.
    door.coming = watched(TERMINAL, GATEWAY, STRANGER)
    worker.step()
    assert door.told == [f"fleet/v1/{TERMINAL}/down/flow qos0 after 0", "puback 3 after 0"]
    assert worker.counters["live_flows"] == 1


def test_requests_to_watch_wait_for_no_database_and_stop_no_reports(
    engine_on_file: Engine, door: ListDoor, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("SELECT", None, Exception("gone"))

    rig = FlushRig(engine_on_file)
    door.coming = [*watched(TERMINAL), urgent(rig, TERMINAL, 1)]
    monkeypatch.setattr(worker_module, "reading", away)
    worker.step()
    assert worker.counters["watch_not_answered"] == 1
    assert count(engine_on_file) == 1


def test_a_worker_leaves_word_that_it_listens_and_what_it_counted(
    engine_on_file: Engine, door: ListDoor, worker: Worker
) -> None:
    rig = FlushRig(engine_on_file)
    door.coming = [urgent(rig, TERMINAL, 1)]
    worker.step()
    with reading(engine_on_file) as session:
        assert read_counters(session)["svc-fleet-1"]["records"] == 1
        listening = listening_s(session, utc_now())
    assert listening is not None
    assert listening < 60


def test_what_a_lost_database_has_committed_is_not_acknowledged_in_the_name_of_the_next(
    engine_on_file: Engine, door: ListDoor, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long a step takes here.
    monkeypatch.setattr(pacing, "SPACING_S", 3600.0)
    rig = FlushRig(engine_on_file)
    for number in (1, 2):
        # The second one's acknowledgement waits, to be gathered with others.
        door.coming = [urgent(rig, TERMINAL, number)]
        worker.step()
    door.told.clear()
    with transaction(engine_on_file) as session:
        session.execute(text("DELETE FROM server_state WHERE name = 'db_epoch'"))
    door.coming = [urgent(rig, OTHER, 1)]
    worker.step()
    assert f"fleet/v1/{OTHER}/down/ack qos1 after 3" in door.told
    assert worker.counters["unsaid_acks"] == 1
    until_all_are_told(worker)
    assert unasked(door) == {TERMINAL, GATEWAY, OTHER}


def test_links_whose_messages_were_given_back_are_told_when_they_are_taken_again(
    engine_on_file: Engine, door: ListDoor, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = FlushRig(engine_on_file)
    with transaction(engine_on_file) as session:
        save_worker(session, "svc-fleet-2", Counter(), utc_now(), utc_now())
    monkeypatch.setattr(worker_module, "GIVE_UP_S", 0.0)
    door.coming = [urgent(rig, TERMINAL, 1)]
    _fail_commits(engine_on_file, 1)
    worker.step()
    worker.step()
    assert unasked(door) == set()
    door.is_open = True
    until_all_are_told(worker)
    assert unasked(door) == {TERMINAL, GATEWAY, OTHER}
