"""Fifty identities, each with every topic, tried by publish, subscribe, shared subscription, will and retained message
on a real mosquitto with the files that an installation gets. What counts is what is delivered.

One line is added to the generated rules: a witness that hears everything and writes where nobody may. ``ACL_WHOLE=1``
tries will and retained message with every topic; else with every third, so that each identity and topic has its turn.
"""

from __future__ import annotations

import os
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from paho.mqtt.client import topic_matches_sub

from fleet_server.enrollment.authority import Authority, Issued, Usage
from fleet_server.enrollment.tls_files import renew_revocation_list
from fleet_server.kit.times import utc_now
from protocol import mqtt_packets as packets
from tests.integration.broker.acl_table import (
    VICTIM,
    Role,
    Who,
    filters,
    identities,
    may_read,
    may_write,
    topics,
    topics_of,
)
from tests.support.broker import Broker, issue_any, running_broker, store
from tests.support.raw_mqtt import REFUSED, RawClient, Will, open_raw, raw_client, retained

pytestmark = pytest.mark.integration
EVERY = 1 if os.environ.get("ACL_WHOLE") == "1" else 3
WITNESS = "svc-witness"
_SETTLED_S = 0.5
_DEADLINE_S = 20.0
NOT_AUTHORIZED, RETAIN_NOT_SUPPORTED = 0x87, 0x9A
EVERYBODY = identities()
CONNECTED = [who for who in EVERYBODY if who.role is not Role.REFUSED]


@dataclass(slots=True)
class World:
    broker: Broker
    contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        return self.broker.host, self.broker.port

    def connect(self, who: Who, will: Will | None = None) -> RawClient:
        return open_raw(self.address, self.contexts[who.name], will=will)


def certificate(authority: Authority, who: Who) -> Issued:
    now = utc_now()
    match who.name:
        case "expired":
            return issue_any(authority, VICTIM, Usage.CLIENT, now - timedelta(days=200))
        case "look-alike authority":
            return Authority.make(now).issue_link(VICTIM, now)
        case "certificate for servers":
            return issue_any(authority, VICTIM, Usage.SERVER, now)
        case "revoked":
            return authority.issue_link(VICTIM, now)
        case name:
            return issue_any(authority, name, Usage.CLIENT, now)


def context_of(broker: Broker, who: Who, number: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(broker.tls_dir / "ca.crt"))
    if who.name == "broker":
        context.load_cert_chain(broker.tls_dir / "broker.crt", broker.tls_dir / "broker.key")
    elif who.name != "no certificate":
        issued = certificate(broker.authority, who)
        if who.name == "revoked":
            renew_revocation_list(broker.authority, broker.tls_dir, [int(issued.serial, 16)], utc_now())
        files = store(broker.tls_dir.parent / f"identity-{number}", broker.authority, issued)
        context.load_cert_chain(files.certificate, files.key)
    return context


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_broker(tmp_path_factory.mktemp("acl")) as broker:
        rules: Path = broker.configuration.with_name("acl")
        rules.write_text(rules.read_text("utf-8") + f"\nuser {WITNESS}\ntopic readwrite #\ntopic readwrite $SYS/#\n")
        made = World(broker)
        for number, who in enumerate([*EVERYBODY, Who(WITNESS, Role.NOBODY)]):
            made.contexts[who.name] = context_of(broker, who, number)
        broker.restart()
        yield made


@pytest.fixture
def witness(world: World) -> Iterator[RawClient]:
    with raw_client(world.address, world.contexts[WITNESS]) as client:
        client.subscribe("#", "$SYS/#")
        yield client


def some(items: list[str], turn: int) -> list[str]:
    return [item for place, item in enumerate(items) if (place + turn) % EVERY == 0]


def test_there_are_fifty_identities_and_five_thousand_cells() -> None:
    each = [len(topics(who)) + 2 * len(filters(who)) + 2 * len(some(topics(who), n)) for n, who in enumerate(EVERYBODY)]
    assert len(EVERYBODY) == len({who.name for who in EVERYBODY}) == 50
    assert sum(each) >= 5000


@pytest.mark.parametrize("who", [who for who in EVERYBODY if who.role is Role.REFUSED], ids=lambda who: who.name)
def test_who_is_refused_does_not_get_as_far_as_a_topic(world: World, who: Who) -> None:
    with pytest.raises(REFUSED):
        world.connect(who)


def test_publish(world: World, witness: RawClient) -> None:
    wrong: list[str] = []
    for who in CONNECTED:
        with raw_client(world.address, world.contexts[who.name]) as client:
            tried = topics(who)
            for mid, topic in enumerate(tried, start=1):
                client.send(packets.publish(topic, b"publish", 1, mid, None))
            client.drain()
            heard = {message.topic for message in witness.drain() if message.payload == b"publish"}
            for mid, topic in enumerate(tried, start=1):
                expected = may_write(who, topic)
                told = client.pubacks.get(mid, NOT_AUTHORIZED) < 0x80
                if (topic in heard, told) != (expected, expected):
                    wrong.append(f"{who.name} -> {topic}: expected {expected}, heard {topic in heard}, told {told}")
    assert wrong == []


@pytest.mark.parametrize("group", ["", "$share/g-{}/"], ids=["subscribe", "share"])
def test_subscribe(world: World, group: str) -> None:
    """``group``: each identity has a group of its own, so that none takes what another would have got."""
    written = sorted({topic for who in EVERYBODY for topic in (*topics(who), *topics_of(VICTIM))})
    with ExitStack() as stack:
        writer = stack.enter_context(raw_client(world.address, world.contexts[WITNESS]))
        clients = [(who, stack.enter_context(raw_client(world.address, world.contexts[who.name]))) for who in CONNECTED]
        wrong: list[str] = []
        for turn in range(len(filters(CONNECTED[0]))):
            asked = [group.format(n) + filters(who)[turn] for n, (who, _) in enumerate(clients)]
            for (_, client), name in zip(clients, asked, strict=True):
                client.subscribe(name)
            for topic in written:
                writer.send(packets.publish(topic, b"subscribe", 0, 0, None))
            writer.drain()
            for (who, client), name in zip(clients, asked, strict=True):
                heard = {message.topic for message in client.drain()}
                plain = filters(who)[turn]
                expected = {t for t in written if may_read(who, t) and topic_matches_sub(plain, t)}
                if heard != expected:
                    wrong.append(f"{who.name} <- {name}: expected {expected}, heard {heard}")
                client.unsubscribe(name)
    assert wrong == []


def test_will(world: World, witness: RawClient) -> None:
    expected: Counter[tuple[str, str]] = Counter()
    for turn, who in enumerate(CONNECTED):
        for topic in some(topics(who), turn):
            # A will that is not allowed may be refused with the connection or kept back at its end.
            try:
                world.connect(who, Will(topic, who.name.encode())).hang_up()
            except ConnectionRefusedError:
                assert not may_write(who, topic)
            if may_write(who, topic):
                expected[who.name, topic] += 1
    heard: Counter[tuple[str, str]] = Counter()
    give_up_at, settled_at = time.monotonic() + _DEADLINE_S, float("inf")
    while time.monotonic() < min(give_up_at, settled_at):
        heard.update((m.payload.decode(), m.topic) for m in witness.drain() if not m.topic.startswith("$SYS"))
        if heard == expected and settled_at == float("inf"):
            settled_at = time.monotonic() + _SETTLED_S
    assert expected
    assert heard == expected


def test_retain(world: World, witness: RawClient) -> None:
    wrong = []
    for turn, who in enumerate(CONNECTED):
        for topic in some(topics(who), turn):
            with raw_client(world.address, world.contexts[who.name]) as client:
                client.send(retained(topic, b"retain", 1))
                client.drain()
                if client.ended != RETAIN_NOT_SUPPORTED:
                    wrong.append(f"{who.name} -> {topic}: expected an end with 0x9a, came {client.ended}")
    assert wrong == []
    assert [message.topic for message in witness.drain() if message.payload == b"retain"] == []
    with raw_client(world.address, world.contexts["svc-fleet-1"]) as late:
        late.subscribe("#")
        assert late.drain() == []
