"""Drives thousands of links in one thread: paho's clients with their sockets in one selector, connections opened by a
few threads beside it.

A peer is anything that takes events and gives effects as `device_agent.core.agent.AgentCore` does. Measured on the
libraries at hand, paho with an outer loop needs least memory a TLS connection (26 kB; asyncio's own TLS 291) and no
client of our own. Invariants: peers are touched by the caller's thread alone; at most `OPENERS` connections are being
opened; a client that a peer has given up says nothing more to it.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import ssl
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device_agent.core.effects import Arrived, Connect, Effect, Event, GiveUp, LinkDown, LinkUp, Publish
from device_agent.core.instant import NS_PER_S, Instant
from protocol.identifiers import LinkId
from protocol.topics import down_filter, parse_down, up
from simulators.load.open_files import allow_open_files

OPENERS: Final = 8
CONNECT_TIMEOUT_S: Final = 10.0
_MISC_EVERY_S: Final = 5.0
_SESSION_EXPIRY_S: Final = 7 * 24 * 3600
# Client addresses are taken in turn: one has about 28,000 ports, of which closed connections hold theirs for a minute.
_ADDRESSES: Final = 100
_LONGEST_WAIT_S: Final = 0.2


class Peer(Protocol):
    @property
    def link(self) -> LinkId: ...
    def handle(self, event: Event, now: Instant) -> None: ...
    def tick(self, now: Instant) -> None: ...
    def settle(self, now: Instant) -> Sequence[Effect]: ...
    def next_due_ns(self) -> int | None: ...
    def goodbye(self) -> Publish | None: ...


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """``ca`` is None for a plain listener, which only a test's own broker on loopback has."""

    host: str
    port: int
    ca: Path | None


@dataclass(frozen=True, slots=True)
class Credentials:
    certificate: Path
    key: Path


@dataclass(slots=True)
class _Member:
    place: int
    peer: Peer
    credentials: Credentials | None
    opening: mqtt.Client | None = None
    client: mqtt.Client | None = None
    sock: Any = None
    wants_write: bool = False
    due_ns: int = 0
    answers: list[Event] = field(default_factory=list)


class Swarm:
    """``counts``: attempts, refused, connects, losses, published, arrived (both also in bytes of topic and payload),
    unsent.
    """

    def __init__(self, broker: BrokerAddress, now: Callable[[], Instant], counts: Counter[str]) -> None:
        self._broker = broker
        self._now = now
        self.counts = counts
        self._members: list[_Member] = []
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[int, int]] = []
        self._touched: dict[int, _Member] = {}
        self._opened: deque[tuple[_Member, mqtt.Client, str]] = deque()
        self._openers = ThreadPoolExecutor(OPENERS, thread_name_prefix="open")
        self._tls = None if broker.ca is None else _SharedContext(broker.ca)
        self._misc_ns = 0
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)

    def add(self, peer: Peer, credentials: Credentials | None) -> None:
        member = _Member(len(self._members), peer, credentials)
        self._members.append(member)
        self._touched[member.place] = member

    def start(self) -> None:
        allow_open_files(len(self._members) + 200)

    @property
    def connected(self) -> int:
        return sum(member.sock is not None for member in self._members)

    def run_until(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            self.step()

    def step(self) -> None:
        """Waits until something happens or is due, and does it."""
        for key, mask in self._selector.select(self._wait_s()):
            member: _Member | None = key.data
            if member is None:
                with suppress(BlockingIOError):
                    self._woken.recv(4096)
            else:
                self._serve(member, mask)
        self._take_opened()
        now = self._now()
        while self._due and self._due[0][0] <= now.monotonic_ns:
            member = self._members[heapq.heappop(self._due)[1]]
            self._touched[member.place] = member
        touched, self._touched = self._touched, {}
        for member in touched.values():
            self._turn(member)
        if now.monotonic_ns >= self._misc_ns:
            self._misc_ns = now.in_s(_MISC_EVERY_S)
            self._keep_alive()

    def close(self) -> None:
        """Goodbyes where there is a connection, then the end of all of them."""
        for member in self._members:
            goodbye, client = member.peer.goodbye(), member.client
            if client is not None and member.sock is not None:
                if goodbye is not None:
                    self._publish(member, goodbye)
                client.on_disconnect = None
                client.disconnect()
            self._forget(member)
        self._openers.shutdown(wait=True, cancel_futures=True)
        for _, client, _ in self._opened:
            client.disconnect()
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def touch_all(self) -> None:
        """Every peer may have something to do now that nobody knew of."""
        self._touched.update((member.place, member) for member in self._members)

    def _wait_s(self) -> float:
        if self._touched:
            return 0.0
        until_ns = min(self._due[0][0] if self._due else self._misc_ns, self._misc_ns)
        return min(max((until_ns - self._now().monotonic_ns) / NS_PER_S, 0.0), _LONGEST_WAIT_S)

    def _turn(self, member: _Member) -> None:
        """What happened and what is due, decided and done."""
        now = self._now()
        events, member.answers = member.answers, []
        for event in events:
            member.peer.handle(event, now)
        member.peer.tick(now)
        for effect in member.peer.settle(now):
            match effect:
                case Publish():
                    self._publish(member, effect)
                case Connect():
                    self.counts["attempts"] += 1
                    member.opening = self._client(member, effect)
                    self._openers.submit(self._open, member, member.opening, effect.keepalive_s)
                case GiveUp():
                    member.opening = None
                    self._forget(member)
                    self._post(member, LinkDown(effect.reason, is_silent=True))
                case _:
                    raise AssertionError(f"a peer without devices ordered {type(effect).__name__}")
        due_ns = member.peer.next_due_ns()
        if due_ns is not None and (due_ns < member.due_ns or member.due_ns <= now.monotonic_ns):
            member.due_ns = max(due_ns, now.monotonic_ns + 1)
            heapq.heappush(self._due, (member.due_ns, member.place))
        self._follow_writing(member)

    def _publish(self, member: _Member, message: Publish) -> None:
        if member.client is None or member.sock is None:
            self.counts["unsent"] += 1
            return
        topic = up(member.peer.link, message.kind)
        member.client.publish(topic, message.payload, message.qos, properties=_content(message.content_type))
        self.counts["published"] += 1
        self.counts["published_bytes"] += len(topic) + len(message.payload)

    def _client(self, member: _Member, order: Connect) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=member.peer.link,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if self._tls is not None and member.credentials is not None:
            client.tls_set_context(self._tls.of(member.credentials))  # type: ignore[arg-type]  # paho only wraps with it
        will = order.will
        properties = _content(will.content_type, PacketTypes.WILLMESSAGE)
        client.will_set(up(member.peer.link, will.kind), will.payload, 1, properties=properties)
        client.on_socket_open = _without_delay
        client.on_connect = partial(self._on_connect, member)
        client.on_disconnect = partial(self._on_disconnect, member)
        client.on_message = partial(self._on_message, member)
        return client

    def _open(self, member: _Member, client: mqtt.Client, keepalive_s: int) -> None:
        """In an opener's thread."""
        error = ""
        try:
            client.connect(
                self._broker.host,
                self._broker.port,
                keepalive=keepalive_s,
                bind_address=_own_address(self._broker.host, member.place),
                clean_start=False,
                properties=_session_properties(),
            )
        except (OSError, ValueError) as failure:
            error = f"{type(failure).__name__}: {failure}"[:200]
        self._opened.append((member, client, error))
        with suppress(OSError):
            self._wake.send(b"o")

    def _take_opened(self) -> None:
        while self._opened:
            member, client, error = self._opened.popleft()
            if member.opening is not client:
                client.disconnect()  # The peer has stopped waiting for it.
                continue
            member.opening = None
            if error:
                self.counts["refused"] += 1
                self._post(member, LinkDown(error))
                continue
            member.client, member.sock = client, client.socket()
            if member.sock is None:
                self._post(member, LinkDown("lost while it was opened"))
                continue
            member.wants_write = False
            self._selector.register(member.sock, selectors.EVENT_READ, member)
            self._touched[member.place] = member

    def _serve(self, member: _Member, mask: int) -> None:
        client, sock = member.client, member.sock
        if client is None or sock is None:
            return
        rc = MQTTErrorCode.MQTT_ERR_SUCCESS
        if mask & selectors.EVENT_READ:
            rc = client.loop_read()
            # TLS may hold decrypted bytes that the selector cannot see.
            while rc is MQTTErrorCode.MQTT_ERR_SUCCESS and isinstance(sock, ssl.SSLSocket) and sock.pending():
                rc = client.loop_read()
        if rc is MQTTErrorCode.MQTT_ERR_SUCCESS and mask & selectors.EVENT_WRITE:
            rc = client.loop_write()
        self._touched[member.place] = member
        if client.socket() is None and member.client is client:
            self._lose(member, str(rc))

    def _keep_alive(self) -> None:
        for member in self._members:
            if member.client is not None and member.sock is not None:
                client = member.client
                client.loop_misc()
                self._follow_writing(member)
                if client.socket() is None and member.client is client:
                    self._lose(member, "keepalive", is_silent=True)

    def _follow_writing(self, member: _Member) -> None:
        if member.client is None or member.sock is None:
            return
        wants_write = member.client.want_write()
        if wants_write is not member.wants_write:
            member.wants_write = wants_write
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wants_write else 0)
            self._selector.modify(member.sock, events, member)

    def _lose(self, member: _Member, reason: str, *, is_silent: bool = False) -> None:
        self.counts["losses"] += 1
        self._forget(member)
        self._post(member, LinkDown(reason, is_silent=is_silent))

    def _forget(self, member: _Member) -> None:
        client, member.client = member.client, None
        sock, member.sock = member.sock, None
        if sock is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            with suppress(OSError):
                sock.close()
        if client is not None:
            client.on_disconnect = client.on_message = client.on_connect = None

    def _post(self, member: _Member, event: Event) -> None:
        member.answers.append(event)
        self._touched[member.place] = member

    def _on_connect(
        self, member: _Member, client: mqtt.Client, _data: object, _flags: object, reason: Any, _props: object
    ) -> None:
        if reason.is_failure:
            self.counts["refused"] += 1
            return
        client.subscribe(down_filter(member.peer.link), qos=1)
        self.counts["connects"] += 1
        self._post(member, LinkUp())

    def _on_disconnect(
        self, member: _Member, client: mqtt.Client, _data: object, _flags: object, reason: Any, _props: object
    ) -> None:
        if member.client is client:
            self._lose(member, str(reason))

    def _on_message(self, member: _Member, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        kind = parse_down(message.topic)
        if kind is not None:
            self.counts["arrived"] += 1
            self.counts["arrived_bytes"] += len(message.topic) + len(message.payload)
            content_type = getattr(message.properties, "ContentType", None)
            self._post(member, Arrived(kind, bytes(message.payload), content_type))


class _SharedContext:
    """One context for all links: each connection takes its certificate with it when it is made, a context of its own
    would cost each of them the authority's once more.
    """

    def __init__(self, ca: Path) -> None:
        self._lock = threading.Lock()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.load_verify_locations(ca)

    def of(self, credentials: Credentials) -> _OwnCertificate:
        return _OwnCertificate(self, credentials)

    def wrap(self, credentials: Credentials, sock: socket.socket, **how: Any) -> ssl.SSLSocket:
        with self._lock:
            self._context.load_cert_chain(credentials.certificate, credentials.key)
            return self._context.wrap_socket(sock, **how)


class _OwnCertificate:
    """The part of a context that paho uses."""

    check_hostname = True

    def __init__(self, shared: _SharedContext, credentials: Credentials) -> None:
        self._shared = shared
        self._credentials = credentials

    def wrap_socket(self, sock: socket.socket, **how: Any) -> ssl.SSLSocket:
        return self._shared.wrap(self._credentials, sock, **how)


def _own_address(host: str, place: int) -> str:
    return f"127.0.0.{2 + place % _ADDRESSES}" if host in {"127.0.0.1", "localhost"} else ""


def _session_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho does not annotate it
    properties.SessionExpiryInterval = _SESSION_EXPIRY_S
    return properties


def _content(content_type: str, packet: int = PacketTypes.PUBLISH) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]  # paho does not annotate it
    properties.ContentType = content_type
    return properties


def _without_delay(_client: mqtt.Client, _data: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
