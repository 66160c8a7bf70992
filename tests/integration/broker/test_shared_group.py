"""Terminals that subscribe to shared groups, guessed or by wildcard, take nothing away from the ingest workers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from protocol import mqtt_packets as packets
from protocol import topics
from protocol.identifiers import LinkId
from tests.support.broker import Broker, running_broker
from tests.support.raw_mqtt import RawClient, raw_client

pytestmark = pytest.mark.integration
SENT = 10_000
WINDOW = 200
SENDERS = [LinkId(f"d-sender-000{n}") for n in range(4)]
THIEVES = [LinkId(f"d-thief-0000{n}") for n in range(6)]
GROUP = f"g-{secrets.token_hex(16)}"


def guesses() -> list[str]:
    """Groups as somebody might name them who knows how ours are made, and what wildcards could stand for."""
    names = ["g-", "g", "ingest", "fleet", "+", "#", "g-+", "", GROUP[:-1], GROUP.upper(), GROUP + "0"]
    names += [f"g-{secrets.token_hex(16)}" for _ in range(20)]
    plain = ["fleet/v1/+/up/urgent", "fleet/v1/+/up/#", "fleet/#", "#", "+/+/+/+/+"]
    return [f"$share/{name}/{topic}" for name in names for topic in plain] + [
        "$share/#",
        "$share/+/#",
        "$share/+/+/+/+",
    ]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("groups")) as running:
        yield running


def steal(broker: Broker, stack: ExitStack) -> list[RawClient]:
    """Each thief with its share of the guesses; a name that ends its connection costs it only that."""
    thieves: list[RawClient] = []
    for number, name in enumerate(THIEVES):
        context, address = broker.link(name).context(), (broker.host, broker.port)
        thief = stack.enter_context(raw_client(address, context))
        for guess in guesses()[number :: len(THIEVES)]:
            thief.subscribe(guess)
            if thief.ended is not None:
                thief = stack.enter_context(raw_client(address, context))
        for guess in guesses()[number :: len(THIEVES)][:3]:
            thief.subscribe(guess)
        thieves.append(thief)
    return thieves


def test_ten_thousand_sent_are_ten_thousand_at_the_workers(broker: Broker) -> None:
    address = broker.host, broker.port
    with ExitStack() as stack:
        workers = [
            stack.enter_context(raw_client(address, broker.service(name).context()))
            for name in ("svc-fleet-1", "svc-fleet-2")
        ]
        for worker in workers:
            worker.subscribe(topics.shared_up_filter(GROUP, topics.Up.URGENT))
        thieves = steal(broker, stack)
        senders = [stack.enter_context(raw_client(address, broker.link(name).context())) for name in SENDERS]
        arrived: list[bytes] = []
        for begin in range(0, SENT, WINDOW):
            for number in range(begin, begin + WINDOW):
                place = number % len(SENDERS)
                topic = topics.up(SENDERS[place], topics.Up.URGENT)
                senders[place].send(packets.publish(topic, b"%d" % number, 1, number + 1, None))
            for client in senders:
                client.drain()
            arrived += [message.payload for worker in workers for message in worker.drain()]
        stolen = [message for thief in thieves for message in thief.drain()]
    assert stolen == []
    assert sorted(arrived) == sorted(b"%d" % number for number in range(SENT))
