"""When to be connected: the first try, the tries after a loss, and the pace that the server asks for.

Invariant: at most one connection is being opened or open; between a loss and the next try lies the backoff's delay.
"""

from __future__ import annotations

from typing import Final

from device_agent.core.backoff import OWN_LINK_FIRST_TRY_S, Backoff
from device_agent.core.effects import Connect, GiveUp, LinkDown
from device_agent.core.instant import Instant
from device_agent.core.ports import Dice
from device_agent.core.session import Session, State
from protocol.session import Flow, PresenceStatus

WILL_REASON: Final = "connection lost"
# TCP, TLS and the broker's answer together; a broker that accepts and then says nothing must not hold the link.
OPEN_TIMEOUT_S: Final = 30.0


class Connection:
    def __init__(self, session: Session, dice: Dice, now: Instant) -> None:
        self._session = session
        self._dice = dice
        self.backoff = Backoff()
        # A restart is this device's own affair; waiting as wide as the fleet would only hide it.
        self._due_ns: int | None = now.in_s(dice.uniform() * min(OWN_LINK_FIRST_TRY_S, 2 * self.backoff.base_s))
        self.attempts = 0

    def set_pace(self, flow: Flow) -> None:
        self.backoff.set_pace(base_s=flow.reconnect_base_s, cap_s=flow.reconnect_cap_s, first_s=flow.reconnect_first_s)

    def on_tick(self, now: Instant, trusted_ms: int = 0) -> list[Connect | GiveUp]:
        due_ns = self.next_due_ns()
        if due_ns is None or now.monotonic_ns < due_ns:
            return []
        if self._session.state is State.CONNECTING:
            self._due_ns = None
            return [GiveUp(f"no answer of the broker in {OPEN_TIMEOUT_S:g} s")]
        self._due_ns = now.in_s(OPEN_TIMEOUT_S)
        self.attempts += 1
        self._session.on_connect()
        will = self._session.presence(PresenceStatus.OFFLINE, WILL_REASON)
        return [Connect(will, self._session.keepalive_s, trusted_ms)]

    def on_established(self, now: Instant) -> None:
        self.backoff.on_established(now.monotonic_ns)

    def on_lost(self, event: LinkDown, now: Instant) -> None:
        if self._session.state is State.IDLE:
            return  # Said twice: the loss and the giving up of one connection.
        self._session.on_lost(is_silent=event.is_silent)
        delay_s = self.backoff.on_lost(now.monotonic_ns, own_link_down=event.own_link_down, jitter=self._dice.uniform())
        self._due_ns = now.in_s(delay_s)

    def next_due_ns(self) -> int | None:
        return self._due_ns if self._session.state in {State.IDLE, State.CONNECTING} else None
