"""Taking a signature that was made in the browser: only by the key of the person who is signed in."""

from __future__ import annotations

from datetime import datetime

from fleet_server.approvals.documents import keys_of_person
from fleet_server.approvals.errors import SignatureRefused
from fleet_server.auth.roles import Actor
from fleet_server.executions.desk import ExecutionDesk
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.models import Execution
from protocol.signing import Signature


class PageDesk:
    def __init__(self, desk: ExecutionDesk, dispatcher: Dispatcher) -> None:
        self._desk = desk
        self._dispatcher = dispatcher

    def keys_of(self, actor: Actor, now: datetime) -> list[str]:
        return keys_of_person(self._dispatcher.policy(now), actor.tenant_id, actor.name)

    def sign(self, actor: Actor, execution_id: str, signature: Signature, now: datetime) -> Execution:
        if signature.keyid not in self.keys_of(actor, now):
            raise SignatureRefused(f"expected a signature by a key that the policy names for {actor.name}")
        return self._desk.approve(actor, execution_id, signature, now)

    def refuse(self, actor: Actor, execution_id: str, reason: str, now: datetime) -> Execution:
        return self._desk.refuse(actor, execution_id, reason, now)
