from __future__ import annotations

from collections import Counter
from datetime import timedelta
from math import inf

import pytest
from sqlalchemy import Engine, insert, update
from sqlmodel import Session

from fleet_server.db import transaction
from fleet_server.devices.models import Device
from fleet_server.ingest.comeback import TOLD_AT_ONCE, TOLD_PER_S, Comeback, Word
from fleet_server.ingest.installation import LISTENED_LATELY, save_worker
from fleet_server.ingest.models import LinkStream
from fleet_server.kit.times import utc_now
from protocol.streams import MAX_ACK_STREAMS, SeqRange, StreamAck
from tests.fleet_server.factories import TENANT, add_fleet, device

ME, OTHER = "svc-fleet-1", "svc-fleet-2"
EPOCH_1, EPOCH_2 = "1" * 32, "2" * 32
NOW = utc_now()


def told(engine: Engine, comeback: Comeback, epoch: str = EPOCH_1, at_s: float = 0.0) -> list[Word]:
    """All that it says from ``at_s`` on until it has nothing more to say."""
    words: list[Word] = []
    while (wait_s := comeback.wait_s(at_s)) < inf:
        at_s += wait_s
        with transaction(engine) as session:
            part = comeback.take(session, epoch, NOW)
        comeback.done(part, at_s)
        words += part
    return words


def back(worker: str = ME) -> Comeback:
    comeback = Comeback(worker)
    comeback.on_listening()
    return comeback


def listens(engine: Engine, worker: str, ago: timedelta = timedelta(0), *, is_deaf: bool = False) -> None:
    with transaction(engine) as session:
        save_worker(session, worker, Counter(), None if is_deaf else NOW - timedelta(hours=1), NOW - ago)


def stream(session: Session, link: str, name: str, upto: int, beyond: list[list[int]], ago_s: int = 0) -> None:
    row = {"link_id": link, "stream": name * 32, "tenant_id": TENANT, "kind": "urgent", "upto": upto, "beyond": beyond}
    counts = dict.fromkeys(("last_known", "shed", "gap_first", "gap_last"), 0)
    session.execute(
        insert(LinkStream).values(**row, **counts, updated_at=NOW - timedelta(seconds=ago_s), gap_shown=False)
    )


@pytest.fixture
def links(engine: Engine) -> list[str]:
    """Gateways, each with a device on its line."""
    with transaction(engine) as session:
        return [add_fleet(session, name).gateway for name in ("one", "two")]


def test_links_are_told_what_is_committed_of_the_streams_that_moved_last(engine: Engine, links: list[str]) -> None:
    first = links[0]
    with transaction(engine) as session:
        stream(session, first, "a", 7, [[9, 9]])
        for number, name in enumerate("bcdef", 1):
            stream(session, first, name, 1, [], ago_s=number)
    words = {word.link_id: word.acks for word in told(engine, back())}
    assert sorted(words) == links
    assert words[first][0] == StreamAck("a" * 32, 7, [SeqRange(8, 8), SeqRange(10, 10)])
    assert [ack.stream[0] for ack in words[first]] == ["a", "b", "c", "d"]
    assert len(words[first]) == MAX_ACK_STREAMS
    assert words[links[1]] == []


def test_attached_and_retired_devices_are_told_nothing(engine: Engine, links: list[str]) -> None:
    with transaction(engine) as session:
        session.execute(update(Device).where(Device.id == links[0]).values(retired_at=NOW))  # type: ignore[arg-type]  # SQLModel types columns as their values
    assert [word.link_id for word in told(engine, back())] == links[1:]


def test_nobody_is_told_while_another_worker_listens(engine: Engine, links: list[str]) -> None:
    assert told(engine, back())
    listens(engine, OTHER)
    assert told(engine, back()) == []


@pytest.mark.parametrize(("ago", "is_deaf"), [(LISTENED_LATELY, False), (timedelta(0), True)])
def test_worker_that_is_gone_or_hears_nothing_does_not_count(
    engine: Engine, links: list[str], ago: timedelta, is_deaf: bool
) -> None:
    assert told(engine, back())
    listens(engine, OTHER, ago, is_deaf=is_deaf)
    listens(engine, ME)
    assert len(told(engine, back())) == len(links)


def test_database_that_went_back_is_told_of_by_one_of_the_workers(engine: Engine, links: list[str]) -> None:
    one, other = back(), back(OTHER)
    told(engine, one)
    told(engine, other)
    listens(engine, ME)
    listens(engine, OTHER)
    one.on_other_database()
    other.on_other_database()
    assert len(told(engine, one, EPOCH_2)) == len(links)
    assert told(engine, other, EPOCH_2) == []


def test_after_giving_messages_back_all_are_told_whoever_listens(engine: Engine, links: list[str]) -> None:
    comeback = back()
    told(engine, comeback)
    listens(engine, OTHER)
    comeback.on_away()
    assert comeback.wait_s(0) == inf
    comeback.on_listening()
    assert len(told(engine, comeback)) == len(links)
    comeback.on_listening()
    assert told(engine, comeback) == []


def test_worker_that_died_in_the_midst_of_it_leaves_it_to_the_next(engine: Engine, links: list[str]) -> None:
    told(engine, back())
    listens(engine, OTHER)
    dying = back()
    dying.on_away()
    with transaction(engine) as session:
        dying.take(session, EPOCH_1, NOW)
    assert len(told(engine, back())) == len(links)


def test_what_was_not_committed_is_said_later(engine: Engine, links: list[str]) -> None:
    comeback = back()
    with transaction(engine) as session:
        assert comeback.take(session, EPOCH_1, NOW)
        session.rollback()
    comeback.put_off(0.0)
    assert 0 < comeback.wait_s(0.0) < inf
    assert len(told(engine, comeback)) == len(links)


def test_many_links_are_told_a_few_at_a_time(engine: Engine, links: list[str]) -> None:
    with transaction(engine) as session:
        session.add_all(device(f"d-{number:08d}", "s-one-0001") for number in range(TOLD_AT_ONCE))
    comeback, at_s, seen = back(), 0.0, []
    while (wait_s := comeback.wait_s(at_s)) < inf:
        at_s += wait_s
        with transaction(engine) as session:
            part = comeback.take(session, EPOCH_1, NOW)
        assert len(part) <= TOLD_AT_ONCE
        comeback.done(part, at_s)
        seen += [word.link_id for word in part]
    assert len(seen) == len(set(seen)) == TOLD_AT_ONCE + len(links)
    assert at_s == pytest.approx(len(seen) / TOLD_PER_S)
