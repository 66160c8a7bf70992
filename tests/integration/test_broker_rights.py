"""What the generated configuration lets through, asked of a real mosquitto: a SUBACK or PUBACK proves nothing, so each
case looks at what is delivered.
"""

from __future__ import annotations

import queue
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from cryptography import x509
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from fleet_server.enrollment.authority import Authority, Usage
from fleet_server.enrollment.tls_files import Addresses, renew_own_certificates
from fleet_server.kit.times import utc_now
from protocol import topics
from protocol.identifiers import LinkId
from tests.support.broker import Broker, ClientFiles, issue_any, running_broker, store

pytestmark = pytest.mark.integration
DEADLINE_S = 20.0
A, B = LinkId("d-aaaaaaaaaaaa"), LinkId("d-bbbbbbbbbbbb")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@dataclass(slots=True)
class Client:
    mqtt: mqtt.Client
    arrived: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)
    connected: queue.Queue[bool] = field(default_factory=queue.Queue)
    published: queue.Queue[ReasonCode] = field(default_factory=queue.Queue)
    subscribed: queue.Queue[bool] = field(default_factory=queue.Queue)
    lost: queue.Queue[bool] = field(default_factory=queue.Queue)

    def subscribe(self, topic: str) -> None:
        self.mqtt.subscribe(topic, qos=1)
        self.subscribed.get(timeout=DEADLINE_S)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Whether the broker took it."""
        self.mqtt.publish(topic, payload, qos=1, retain=retain)
        return not self.published.get(timeout=DEADLINE_S).is_failure


@contextmanager
def connected(broker: Broker, files: ClientFiles, client_id: str) -> Iterator[Client]:
    raw = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    client = Client(raw)
    raw.tls_set_context(files.context())
    raw.on_connect = lambda *args: client.connected.put(not args[3].is_failure)
    raw.on_message = lambda _client, _data, message: client.arrived.put((message.topic, bytes(message.payload)))
    raw.on_publish = lambda *args: client.published.put(args[3])
    raw.on_subscribe = lambda *_: client.subscribed.put(item=True)
    raw.on_disconnect = lambda *_: client.lost.put(item=True)
    raw.connect(broker.host, broker.port)
    raw.loop_start()
    try:
        assert client.connected.get(timeout=DEADLINE_S)
        yield client
    finally:
        raw.disconnect()
        raw.loop_stop()
        # paho closes its last sockets when it is dropped, which a cycle through these would leave to the collector.
        raw.on_connect = raw.on_message = raw.on_publish = raw.on_subscribe = raw.on_disconnect = None


def test_a_link_speaks_to_the_fleet_and_hears_its_own_commands(broker: Broker) -> None:
    with connected(broker, broker.service("svc-fleet-1"), "x") as fleet, connected(broker, broker.link(A), "x") as link:
        fleet.subscribe(topics.shared_up_filter("g-secret", topics.Up.URGENT))
        link.subscribe(topics.down_filter(A))
        assert link.publish(topics.up(A, topics.Up.URGENT), b"record")
        assert fleet.arrived.get(timeout=DEADLINE_S) == (topics.up(A, topics.Up.URGENT), b"record")
        assert fleet.publish(topics.down(A, topics.Down.ACK), b"ack")
        assert link.arrived.get(timeout=DEADLINE_S) == (topics.down(A, topics.Down.ACK), b"ack")


@pytest.mark.parametrize(
    "topic",
    [
        topics.up(B, topics.Up.URGENT),
        topics.up(B, topics.Up.PRESENCE),
        topics.down(B, topics.Down.COMMAND),
        topics.down(A, topics.Down.COMMAND),
        topics.EVENTS,
        topics.WATCH,
        "svc/v1/anything",
        "elsewhere",
    ],
)
def test_a_link_writes_nothing_but_its_own_reports(broker: Broker, topic: str) -> None:
    with connected(broker, broker.link(A), A) as link:
        assert not link.publish(topic, b"forged")


def test_a_link_hears_nothing_but_its_own_commands(broker: Broker) -> None:
    with (
        connected(broker, broker.service("svc-fleet-1"), "x") as fleet,
        connected(broker, broker.link(A), "x") as spy,
        connected(broker, broker.link(B), "x") as other,
    ):
        for topic in ("#", "+/#", "$SYS/#", "svc/#", topics.down_filter(B), topics.up(B, topics.Up.URGENT)):
            spy.subscribe(topic)
        spy.subscribe(topics.down_filter(A))
        fleet.subscribe(f"{topics.PREFIX}/+/up/#")
        assert other.publish(topics.up(B, topics.Up.URGENT), b"private")
        assert fleet.publish(topics.down(B, topics.Down.COMMAND), b"private")
        assert fleet.publish(topics.EVENTS, b"private")
        fleet.arrived.get(timeout=DEADLINE_S)
        # Delivered last, so whatever else was allowed has arrived before it.
        assert fleet.publish(topics.down(A, topics.Down.ACK), b"mine")
        heard = {spy.arrived.get(timeout=DEADLINE_S)}
        while not spy.arrived.empty():
            heard.add(spy.arrived.get())
        assert heard == {(topics.down(A, topics.Down.ACK), b"mine")}


def test_api_and_scheduler_send_commands_and_hints_but_no_acknowledgement(broker: Broker) -> None:
    for name in ("svc-api-1", "svc-api-2", "svc-scheduler-1"):
        with connected(broker, broker.service(name), name) as service:
            assert service.publish(topics.down(A, topics.Down.COMMAND), b"command")
            assert service.publish(topics.EVENTS, b"[1]")
            assert not service.publish(topics.down(A, topics.Down.ACK), b"forged")


def test_that_somebody_watches_is_said_by_the_api_and_only_ingest_may_ask_the_link(broker: Broker) -> None:
    with (
        connected(broker, broker.service("svc-fleet-1"), "x") as fleet,
        connected(broker, broker.service("svc-api-1"), "x") as api,
        connected(broker, broker.link(A), "x") as link,
        connected(broker, broker.link(B), "x") as spy,
    ):
        fleet.subscribe(topics.shared_watch_filter("g-secret"))
        api.subscribe(topics.LIVE_FILTER)
        link.subscribe(topics.down_filter(A))
        for topic in (topics.WATCH, topics.LIVE_FILTER):
            spy.subscribe(topic)
        assert api.publish(topics.WATCH, b"asked")
        assert fleet.arrived.get(timeout=DEADLINE_S) == (topics.WATCH, b"asked")
        assert not api.publish(topics.down(A, topics.Down.FLOW), b"forged")
        assert fleet.publish(topics.down(A, topics.Down.FLOW), b"flow")
        assert link.arrived.get(timeout=DEADLINE_S) == (topics.down(A, topics.Down.FLOW), b"flow")
        assert link.publish(topics.up(A, topics.Up.LIVE), b"live")
        assert api.arrived.get(timeout=DEADLINE_S) == (topics.up(A, topics.Up.LIVE), b"live")
        assert spy.arrived.empty()


def test_a_link_cannot_throw_another_out_by_its_client_id(broker: Broker) -> None:
    with connected(broker, broker.link(B), B) as victim, connected(broker, broker.link(A), B) as thief:
        assert thief.publish(topics.up(A, topics.Up.LIVE), b"x")
        assert victim.publish(topics.up(B, topics.Up.LIVE), b"still here")
        assert victim.lost.empty()


def test_nothing_is_retained(broker: Broker) -> None:
    with connected(broker, broker.link(A), A) as link:
        link.mqtt.publish(topics.up(A, topics.Up.LIVE), b"x", qos=1, retain=True)
        assert link.lost.get(timeout=DEADLINE_S)


def handshake(broker: Broker, context: ssl.SSLContext) -> bytes:
    """The first byte of the answer.

    Raises where the broker refuses: under TLS 1.3 a refused certificate shows with the first read.
    """
    with (
        socket.create_connection((broker.host, broker.port), DEADLINE_S) as raw,
        context.wrap_socket(raw, server_hostname=broker.host) as link,
    ):
        # CONNECT, MQTT 5, clean start, keepalive 3600 s, client id "dev-aa".
        link.sendall(bytes.fromhex("101300044d51545405020e100000066465762d6161"))
        first = link.recv(1)
    if not first:
        raise ConnectionResetError
    return first


REFUSED = (ssl.SSLError, ConnectionError)


def test_a_client_without_certificate_is_refused(broker: Broker) -> None:
    context = ssl.create_default_context(cafile=str(broker.tls_dir / "ca.crt"))
    with pytest.raises(REFUSED):
        handshake(broker, context)


def test_a_certificate_of_a_look_alike_authority_is_refused(broker: Broker, tmp_path: Path) -> None:
    foreign = Authority.make(utc_now())
    files = store(tmp_path / "foreign", foreign, foreign.issue_link(A, utc_now()))
    context = ssl.create_default_context(cafile=str(broker.tls_dir / "ca.crt"))
    context.load_cert_chain(files.certificate, files.key)
    with pytest.raises(REFUSED):
        handshake(broker, context)


def test_tls_1_2_is_refused(broker: Broker) -> None:
    context = broker.link(A).context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(REFUSED):
        handshake(broker, context)


def test_the_brokers_own_certificate_is_no_client_certificate(broker: Broker) -> None:
    context = broker.service("broker").context()
    with pytest.raises(REFUSED):
        handshake(broker, context)


@pytest.mark.parametrize("days", [-200, 200])
def test_a_certificate_out_of_its_time_is_refused(broker: Broker, tmp_path: Path, days: int) -> None:
    issued = issue_any(broker.authority, A, Usage.CLIENT, utc_now() + timedelta(days=days))
    files = store(tmp_path / "old", broker.authority, issued)
    with pytest.raises(REFUSED):
        handshake(broker, files.context())


def test_a_good_certificate_passes_the_same_handshake(broker: Broker) -> None:
    # CONNACK.
    assert handshake(broker, broker.link(A).context()) == b"\x20"


def serial_of(broker: Broker) -> int:
    context = broker.link(A).context()
    with (
        socket.create_connection((broker.host, broker.port), DEADLINE_S) as raw,
        context.wrap_socket(raw, server_hostname=broker.host) as link,
    ):
        presented = link.getpeercert(binary_form=True)
    assert presented is not None
    return x509.load_der_x509_certificate(presented).serial_number


def test_a_renewed_certificate_is_taken_up_on_sighup(broker: Broker) -> None:
    before = serial_of(broker)
    addresses = Addresses(broker.host, broker.port, broker.host)
    (broker.tls_dir / "broker.key").unlink()
    assert renew_own_certificates(broker.authority, broker.tls_dir, addresses, utc_now()) == ["broker"]
    broker.process.send_signal(signal.SIGHUP)
    give_up_at = time.monotonic() + DEADLINE_S
    while serial_of(broker) == before:
        assert time.monotonic() < give_up_at, "the broker still shows its old certificate"
        time.sleep(0.05)
