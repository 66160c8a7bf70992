"""How a connection begins and stays: hello until the welcome with its nonce, then acks and flow, all signed.

    IDLE -connect-> CONNECTING -connected-> GREETING -welcome-> ESTABLISHED; a loss leads back to IDLE from anywhere.

Hello is repeated after 5 s, doubling to 300 s, until a welcome with its nonce and the server key's signature arrives; a
sign that the server is there again ends the doubling.
Invariants: no welcome, flow or ack without such a signature changes anything; a welcome with another nonce changes
nothing; each connection has a session id and a nonce of its own; what was signed before the last flow that was taken on
this connection changes nothing, so that a broker cannot play an old one again. Backing off between connections and the
records themselves are left to others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from device_agent.core.effects import Publish
from device_agent.core.instant import NS_PER_S, Instant
from device_agent.core.ports import Dice
from protocol import codec
from protocol.errors import Malformed
from protocol.identifiers import KeyId, Nonce, SessionId
from protocol.session import (
    HELLO_RETRY_CAP_S,
    HELLO_RETRY_FIRST_S,
    Flow,
    Hello,
    Presence,
    PresenceStatus,
    Welcome,
)
from protocol.signing import ACK_TYPE, FLOW_TYPE, WELCOME_TYPE, Policy, open_envelope, public_keys
from protocol.streams import Ack
from protocol.topics import Up

# A carrier that drops idle flows is not asked more often than this, whatever it does.
KEEPALIVE_FLOOR_S: Final = 15
SILENT_LOSSES_BEFORE_HALVING: Final = 2
# A hello that was answered later has waited somewhere: when the server read it says little of the clock it carried.
LATE_WELCOME_S: Final = 2.0
_NO_SESSION: Final = SessionId("")
_NO_NONCE: Final = Nonce("")

SignedT = TypeVar("SignedT", Welcome, Flow, Ack)


class State(Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    GREETING = "greeting"
    ESTABLISHED = "established"


class Happening(Enum):
    CONNECT = "connect"
    CONNECTED = "connected"
    WELCOMED = "welcomed"
    LOST = "lost"


TRANSITIONS: Final = {
    (State.IDLE, Happening.CONNECT): State.CONNECTING,
    (State.CONNECTING, Happening.CONNECTED): State.GREETING,
    (State.GREETING, Happening.WELCOMED): State.ESTABLISHED,
    # A worker that answers a repeated hello late says nothing new.
    (State.ESTABLISHED, Happening.WELCOMED): State.ESTABLISHED,
    (State.IDLE, Happening.LOST): State.IDLE,
    (State.CONNECTING, Happening.LOST): State.IDLE,
    (State.GREETING, Happening.LOST): State.IDLE,
    (State.ESTABLISHED, Happening.LOST): State.IDLE,
}


@dataclass(slots=True)
class Session:
    """``make_hello`` fills in what only the whole agent knows, given nonce and session id."""

    dice: Dice
    make_hello: Callable[[Nonce, SessionId, Instant], Hello]
    asked_keepalive_s: int
    policy: Policy
    state: State = State.IDLE
    id: SessionId = _NO_SESSION
    nonce: Nonce = _NO_NONCE
    refused: Counter[str] = field(default_factory=Counter)  # by reason; the reasons are a closed set of codes
    _hello_due_ns: int | None = None
    _hello_at_ns: int = 0
    _hello_wait_s: float = HELLO_RETRY_FIRST_S
    _silent_losses: int = 0
    _halvings: int = 0
    _flow_at_ms: int | None = None  # of the last flow taken on this connection; None: its server dates none
    _greeted_ns: int = 0
    is_welcomed_late: bool = False  # on this connection, counted from its first hello

    @property
    def keepalive_s(self) -> int:
        """For the next connection: what was asked for, halved as often as a carrier has dropped the idle flow."""
        return max(self.asked_keepalive_s >> self._halvings, min(self.asked_keepalive_s, KEEPALIVE_FLOOR_S))

    def on_connect(self) -> SessionId:
        """A new connection is being opened; its id goes into the will."""
        self._step(Happening.CONNECT)
        self.id = SessionId(self.dice.hex128())
        self.nonce = Nonce(self.dice.hex128())
        self._flow_at_ms = None
        return self.id

    def on_connected(self, now: Instant) -> list[Publish]:
        if (self.state, Happening.CONNECTED) not in TRANSITIONS:
            self.refused["late_connection"] += 1
            return []
        self._step(Happening.CONNECTED)
        self._hello_wait_s = HELLO_RETRY_FIRST_S
        self._greeted_ns = now.monotonic_ns
        return [self.presence(PresenceStatus.ONLINE, "connected"), self._hello(now)]

    def on_welcome(self, payload: bytes, content_type: str | None, now: Instant) -> Welcome | None:
        welcome = self._opened(payload, content_type, WELCOME_TYPE, Welcome)
        if welcome is None:
            return None
        if welcome.nonce != self.nonce or (self.state, Happening.WELCOMED) not in TRANSITIONS:
            self.refused["nonce"] += 1
            return None
        at_ms = welcome.flow.issued_at_ms
        if self._flow_at_ms is not None and (at_ms is None or at_ms < self._flow_at_ms):
            self.refused["flow_old"] += 1
            return None
        if self.state is State.GREETING:
            self.is_welcomed_late = now.monotonic_ns - self._greeted_ns > LATE_WELCOME_S * NS_PER_S
        self._step(Happening.WELCOMED)
        self._hello_due_ns = None
        self._flow_at_ms = at_ms
        return welcome

    def on_ack(self, payload: bytes, content_type: str | None) -> Ack | None:
        return self._opened(payload, content_type, ACK_TYPE, Ack)

    def on_flow(self, payload: bytes, content_type: str | None) -> Flow | None:
        flow = self._opened(payload, content_type, FLOW_TYPE, Flow)
        if flow is None:
            return None
        if self.state is not State.ESTABLISHED:
            # Without this connection's welcome nothing says how old it is.
            self.refused["flow_early"] += 1
            return None
        if self._flow_at_ms is not None and (flow.issued_at_ms is None or flow.issued_at_ms <= self._flow_at_ms):
            self.refused["flow_old"] += 1
            return None
        self._flow_at_ms = flow.issued_at_ms
        return flow

    def on_lost(self, *, is_silent: bool) -> None:
        """``is_silent``: nothing was heard, not even the answer to a ping, until the connection was given up."""
        if is_silent and self.state in {State.GREETING, State.ESTABLISHED}:
            self._silent_losses += 1
            if self._silent_losses >= SILENT_LOSSES_BEFORE_HALVING:
                self._silent_losses = 0
                self._halvings += 1
        self._step(Happening.LOST)
        self._hello_due_ns = None

    def on_tick(self, now: Instant) -> list[Publish]:
        if self.state is not State.GREETING or self._hello_due_ns is None or now.monotonic_ns < self._hello_due_ns:
            return []
        return [self._hello(now)]

    def on_heard(self, now: Instant) -> None:
        """The server is there: a hello that nobody has answered waits no longer than after the first one."""
        if self._hello_due_ns is not None and self._hello_wait_s > HELLO_RETRY_FIRST_S:
            self._hello_wait_s = HELLO_RETRY_FIRST_S
            again_ns = self._hello_at_ns + int(HELLO_RETRY_FIRST_S * NS_PER_S)
            self._hello_due_ns = min(self._hello_due_ns, max(again_ns, now.monotonic_ns))

    def greet_again(self, now: Instant) -> list[Publish]:
        """The server's database changed under the session: it may not know this link's hello any more."""
        return [self._hello(now)] if self.state is State.ESTABLISHED else []

    def next_due_ns(self) -> int | None:
        return self._hello_due_ns if self.state is State.GREETING else None

    def presence(self, status: PresenceStatus, reason: str) -> Publish:
        encoded = codec.encode(Presence(self.id, status, reason))
        return Publish(Up.PRESENCE, encoded.payload, encoded.content_type)

    def _hello(self, now: Instant) -> Publish:
        self._hello_at_ns = now.monotonic_ns
        self._hello_due_ns = now.monotonic_ns + int(self._hello_wait_s * NS_PER_S)
        self._hello_wait_s = min(self._hello_wait_s * 2, HELLO_RETRY_CAP_S)
        encoded = codec.encode(self.make_hello(self.nonce, self.id, now), deflate=True)
        return Publish(Up.HELLO, encoded.payload, encoded.content_type)

    def _opened(
        self, payload: bytes, content_type: str | None, payload_type: str, kind: type[SignedT]
    ) -> SignedT | None:
        plain = codec.inflate(payload, content_type)
        opened = plain if isinstance(plain, Malformed) else open_envelope(plain, payload_type, self._server_keys())
        value = opened if isinstance(opened, Malformed) else codec.from_json(opened.payload, kind)
        if isinstance(value, Malformed):
            self.refused[value.code] += 1
            return None
        return value

    def _server_keys(self) -> dict[KeyId, Ed25519PublicKey]:
        return public_keys(self.policy.server_keys)

    def _step(self, happening: Happening) -> None:
        self.state = TRANSITIONS[self.state, happening]
