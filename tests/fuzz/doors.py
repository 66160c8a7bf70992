"""Doors that bytes come in by, whole: sockets of signer, issuer, agent and broker, and HTTP from the first byte.

Behind each is what stands there in an installation, so that a refusal further in is found as well. Of HTTP an answer of
500 is a mistake, and so is none at all.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import cast

from uvicorn.protocols.http.h11_impl import RequestResponseCycle

from device_agent.adapters.control_socket import ControlSocket
from fleet_server.auth.dependencies import passwords
from fleet_server.auth.limits import SignInLimits
from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.roles import Role
from fleet_server.auth.sessions import digest
from fleet_server.console.simulator_door import SimulatorsRefused, list_devices
from fleet_server.db import transaction
from fleet_server.http_protocol import PatientProtocol
from fleet_server.http_server import server_config
from fleet_server.ingest.broker_session import BrokerSession
from fleet_server.issuer import process as issuer_process
from fleet_server.issuer.folder import AuthorityPlaces, ensure_authority
from fleet_server.issuer.service import Issuer
from fleet_server.kit.rate_limit import TokenBuckets
from fleet_server.kit.times import utc_now
from fleet_server.signer.door import SignerDoor
from fleet_server.signer.settings import SignerSettings
from protocol.mqtt_packets import connect
from tests.fuzz.parsers import folder

_NOW = datetime(2026, 3, 1, tzinfo=UTC)
# What a peer may say at once; more waits in the kernel.
_SENT_BYTES = 100_000
_ANSWER_S = 10.0
HEADERS = (
    "Cookie",
    "Authorization",
    "Accept-Language",
    "Origin",
    "Referer",
    "Host",
    "X-Forwarded-For",
    "Last-Event-ID",
    "Content-Type",
    "Range",
)
QUERIES = (
    "/?",
    "/fleet/rows?",
    "/search?",
    "/search/palette?",
    "/open?",
    "/audit?",
    "/runs?",
    "/distribution?metric=net.rtt_ms&",
    "/devices/d-one-terminal/health?",
    "/sign-in?",
    "/demo?",
    "/api/v1/devices?",
    "/api/v1/executions?",
    "/api/v1/faults?",
    "/api/v1/audit?",
    "/api/v1/devices/d-one-terminal/timeline?",
    "/api/v1/health/distribution?metric=net.rtt_ms&",
    "/devices/",
    "/static/",
)
BODIES = (
    ("/sign-in", "application/x-www-form-urlencoded"),
    ("/preferences", "multipart/form-data; boundary=b"),
    ("/people", "application/x-www-form-urlencoded"),
    ("/enrolment/codes", "multipart/form-data; boundary=b"),
    ("/devices/d-one-terminal/runs", "application/x-www-form-urlencoded"),
    ("/enrol/v1/requests", "application/json"),
    ("/enrol/v1/renewals", "application/json"),
    ("/api/v1/executions", "application/json"),
    ("/api/v1/permits", "application/json"),
    ("/api/v1/enrolments/pallet", "application/json"),
    ("/api/v1/audit/anchors", "application/json"),
)
_ESCAPED = re.compile(rb"[^!-~]")


@contextmanager
def _pair(said: bytes) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Ours, with everything said and nothing more to come, and theirs."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _SENT_BYTES)
        ours.settimeout(_ANSWER_S)
        ours.sendall(said[:_SENT_BYTES])
        ours.shutdown(socket.SHUT_WR)
        yield ours, theirs


@cache
def _signer_door() -> SignerDoor:
    from protocol.signing import SigningKey
    from tests.support.signing import signer_with

    approvers = [("wang", SigningKey.from_seed(b"p" * 32))]
    signer = signer_with(SigningKey.from_seed(b"c" * 32), approvers)
    return SignerDoor(signer, SignerSettings(folder(), "unused"), lambda: _NOW)


def signer_socket(data: bytes) -> object:
    """The bytes as they come; and as one message, its length put before it."""
    for said in (data, len(data).to_bytes(4, "big") + data):
        with _pair(said) as (_, theirs):
            door = _signer_door()
            door._room.acquire()
            door._attend(theirs)
    return None


@cache
def _issuer() -> Issuer:
    place = folder() / "issuing"
    places = AuthorityPlaces(place / "keys", place / "issuer")
    places.keys_dir.mkdir(parents=True)
    ensure_authority(places, _NOW)
    return Issuer(places, lambda: _NOW)


def issuer_socket(data: bytes) -> object:
    for said in (data, data + b"\n"):
        with _pair(said) as (_, theirs):
            room = threading.BoundedSemaphore(1)
            room.acquire()
            issuer_process._serve_peer(_issuer(), theirs, threading.Lock(), room)
    return None


@cache
def _control() -> ControlSocket:
    return ControlSocket(folder() / "control.sock", lambda asked, reply: reply({"done": True, "echo": asked}))


def agent_control(data: bytes) -> object:
    """One who asks gets an answer, whatever was said."""
    with _pair(data) as (ours, theirs):
        door = _control()
        door._places.acquire()
        door._talk(theirs)
        answer = ours.recv(_SENT_BYTES)
        if not answer.endswith(b"\n"):
            raise AssertionError("expected an answer, came none")
        return answer


def broker_session(data: bytes) -> object:
    """The connection of an ingest worker, told what a broker could say."""
    session = BrokerSession("w-1", ["fleet/v1/+/up/#"], 0.0)
    messages, step = [], max(1, len(data) // 3)
    for at in range(0, len(data), step):
        messages += session.receive(data[at : at + step], float(at))
    session.publish("fleet/v1/d/down/ack", b"{}", 1, "application/json")
    session.acknowledge([message.mid for message in messages])
    if not session.outgoing.startswith(connect("w-1", 30, max_packet_bytes=_packet_bytes())[:1]):
        raise AssertionError("what was to be sent first is not first")
    return session.why_over


def _packet_bytes() -> int:
    from protocol.broker_rules import MAX_PACKET_BYTES

    return MAX_PACKET_BYTES


def simulators_answer(data: bytes) -> object:
    """What the demo's simulators say to the console."""
    path = folder() / "simulators.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        answering = threading.Thread(target=_answer_once, args=(listener, data))
        answering.start()
        try:
            return list_devices(path)
        except SimulatorsRefused as refused:
            return str(refused)
        finally:
            answering.join()


def _answer_once(listener: socket.socket, data: bytes) -> None:
    peer, _ = listener.accept()
    with peer:
        peer.recv(4096)
        peer.sendall(data)


class _Http:
    """The whole program on one connection at a time, on a database of its own, asked as an operator and by a token."""

    def __init__(self) -> None:
        from fleet_server.app import create_app
        from fleet_server.timeline.hub import EventHub
        from protocol.signing import SigningKey
        from tests.fleet_server.factories import add_fleet, settings
        from tests.fleet_server.two_tenants import add_token
        from tests.support.engines import migrated_sqlite, sqlite_engine
        from tests.support.signing import local_signer

        place = folder() / "http"
        place.mkdir()
        self._opened = sqlite_engine(migrated_sqlite(place), place)
        engine = self._opened.__enter__()
        now = utc_now()
        with transaction(engine) as session:
            add_fleet(session)
            user = User(id="p", tenant_id="default", name="p", password_hash="", role="operator", created_at=now)
            session.add(user)
            session.flush()
            session.add(_session_of(user, now))
            add_token(session, "default", "fuzz", Role.OPERATOR)
        here = settings(place)
        signer = local_signer(SigningKey.from_seed(b"c" * 32), SigningKey.from_seed(b"a" * 32))
        self.app = create_app(here, engine, None, EventHub(engine), signer)
        self.app.dependency_overrides[passwords] = Passwords.cheap
        # How often is another test's question.
        self.app.state.guesses = self.app.state.buckets = TokenBuckets(rate_per_s=1e9, burst=10**9)
        self._loop = asyncio.new_event_loop()
        self._config = server_config(self.app, here)
        self._config.load()
        self._protocol = cast("type[PatientProtocol]", self._config.http_protocol_class)

    def ask(self, said: bytes) -> bytes:
        """What comes back when ``said`` has come and no more is to come."""
        self.app.state.sign_in_limits = SignInLimits()
        return self._loop.run_until_complete(self._ask(said))

    async def _ask(self, said: bytes) -> bytes:
        from uvicorn.server import ServerState

        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        state = ServerState()
        with ours:
            protocol = self._protocol(self._config, state, {})
            transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, theirs)
            step = max(1, len(said) // 3)
            for at in range(0, len(said), step):
                if not transport.is_closing():
                    protocol.data_received(said[at : at + step])
            ends_at = time.monotonic() + _ANSWER_S
            while protocol._stage == "answer" and not _is_answered(protocol) and not transport.is_closing():
                if time.monotonic() > ends_at:
                    raise AssertionError("no answer came")
                await asyncio.sleep(0.0005)
            transport.close()
            if state.tasks:
                await asyncio.wait(set(state.tasks), timeout=_ANSWER_S)
            try:
                return ours.recv(1_000_000)
            except BlockingIOError:
                return b""


def _is_answered(protocol: PatientProtocol) -> bool:
    """Or has begun to be: event streams do not end."""
    cycle: RequestResponseCycle | None = protocol.cycle
    return cycle is None or cycle.response_started


def _session_of(user: User, now: datetime) -> LoginSession:
    later = now + timedelta(days=365)
    return LoginSession(
        id_sha256=digest("fuzz"),
        tenant_id=user.tenant_id,
        user_id=user.id,
        csrf="fuzz",
        created_at=now,
        last_used_at=later,
        expires_at=later,
        stepped_up_at=now,
    )


@cache
def _http() -> _Http:
    return _Http()


def _answered(said: bytes) -> bytes:
    answer = _http().ask(said)
    if answer.startswith(b"HTTP/1.1 500"):
        raise AssertionError(f"a server error: {answer[-300:]!r}")
    return answer


def http(data: bytes) -> object:
    """Bytes as they come."""
    return _answered(data)


def _head(method: bytes, path: bytes, more: bytes = b"", *, cookie: bytes = b"tillmedic=fuzz") -> bytes:
    fixed = b"Host: 127.0.0.1:1\r\nConnection: close\r\nAuthorization: Bearer tm_default_fuzz\r\n"
    return method + b" " + path + b" HTTP/1.1\r\n" + fixed + b"Cookie: " + cookie + b"\r\n" + more + b"\r\n"


def http_header(data: bytes) -> object:
    """The first byte says which: cookies, origins, languages, ids of events."""
    name = HEADERS[(data[0] if data else 0) % len(HEADERS)].encode()
    value = data[1:].translate(None, b"\r\n\0")
    answer = _answered(_head(b"GET", b"/account", name + b": " + value + b"\r\n", cookie=b"a=b"))
    if not answer.startswith(b"HTTP/1.1 "):
        raise AssertionError("expected an answer, came none")
    return answer


def http_query(data: bytes) -> object:
    """The first byte says of which page. Without the quoting that a browser would do, and with it."""
    path = QUERIES[(data[0] if data else 0) % len(QUERIES)].encode()
    quoted = _ESCAPED.sub(lambda found: b"%%%02X" % found[0][0], data[1:])
    return _answered(_head(b"GET", path + quoted))


def http_body(data: bytes) -> object:
    """The first byte says at which door."""
    path, kind = BODIES[(data[0] if data else 0) % len(BODIES)]
    body = data[1:]
    if kind.startswith("application/x-www"):
        body = b"csrf=fuzz&" + body
    elif kind.startswith("multipart"):
        body = b'--b\r\nContent-Disposition: form-data; name="csrf"\r\n\r\nfuzz\r\n' + body
    more = b"Origin: http://127.0.0.1:1\r\nContent-Type: " + kind.encode() + b"\r\n"
    return _answered(_head(b"POST", path.encode(), more + b"Content-Length: %d\r\n" % len(body)) + body)


_ORDER = b'{"type":"sign","device_id":"d-fuzz-0001","tenant_id":"default","execution_id":"e-1","action":"agent.echo"'
_HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
_BODIES = {
    "application": (b"name=a&password=b&next=%2F&role=viewer&action=agent.echo&p.count=3",),
    "multipart/f": (b'--b\r\nContent-Disposition: form-data; name="theme"\r\n\r\ndark\r\n--b--\r\n',),
}
SEEDS: dict[Callable[[bytes], object], tuple[bytes, ...]] = {
    signer_socket: (
        b'{"type":"standing"}',
        b'{"type":"ask_policy"}',
        b'{"type":"journal","after":0,"limit":5}',
        _ORDER + b',"danger_class":0,"params":{"a":1},"counter":1,"not_after_ms":1772323300000}',
        b'{"type":"resume","tenant":"default","lifting":"{}"}',
        b'{"type":"policy","envelope":"{}"}',
    ),
    issuer_socket: (
        b'{"ask":"describe"}',
        b'{"ask":"lists","serials":["0f"]}',
        b'{"ask":"enrol","name":"d-fuzz-0001","csr":"x"}',
        b'{"ask":"retire","name":"d-fuzz-0001","reason":"lost"}',
    ),
    agent_control: (b'{"ask":"status"}\n', b'{"ask":"check","params":{"a":1}}\n'),
    broker_session: (
        b"\x20\x03\x00\x00\x00\x90\x04\x00\x01\x00\x01",
        b"\x20\x06\x00\x00\x03\x21\x00\x02\x32\x10\x00\x05a/b/c\x00\x01\x05\x03\x00\x02abxyz",
    ),
    simulators_answer: (b'{"ok":true,"devices":[{"key":"prn1","faults":[{"name":"paper_out"}]}]}\n',),
    http: (
        _HEAD,
        b"POST /sign-in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://a/healthz HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabc",
    ),
    http_header: tuple(bytes([number]) + b"tillmedic=fuzz; a=b" for number in range(len(HEADERS))),
    http_query: tuple(
        bytes([number]) + b"q=a&cursor=WyJhIiwxXQ&limit=5&from=2026-01-01T00:00:00Z" for number in range(len(QUERIES))
    ),
    http_body: tuple(bytes([number]) + said for number, (_, kind) in enumerate(BODIES) for said in _BODIES[kind[:11]]),
}
IN_THREADS = frozenset({http, http_header, http_query, http_body})
