"""Asking for an execution, or for its end, in one transaction and one thread, from opening the session to its commit. A
transaction that the database ended in favour of another is done once more.

The other doors get their session from a dependency, which costs a change of threads at each end. The way from a request
to its verdict is short enough for that to be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from fleet_server.approvals.errors import AlreadyApproved
from fleet_server.auth.roles import Actor
from fleet_server.db import transaction
from fleet_server.devices.repository import DeviceRepository
from fleet_server.devices.service import CapabilityCache, DeviceService
from fleet_server.executions.deciding import Decisions, Desk
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.models import Execution
from fleet_server.executions.outbound import Outbound
from fleet_server.executions.service import ExecutionService, Wish
from fleet_server.kit.conflicts import Conflicts
from protocol.signing import Signature

Done = TypeVar("Done")


class ExecutionDesk:
    def __init__(
        self,
        engine: Engine,
        cache: CapabilityCache,
        dispatcher: Dispatcher,
        outbound: Outbound,
        conflicts: Conflicts,
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._dispatcher = dispatcher
        self._outbound = outbound
        self._conflicts = conflicts

    def request(self, actor: Actor, wish: Wish, now: datetime, idempotency_key: str | None = None) -> Execution:
        """`ExecutionService.request`, committed."""

        def once() -> Execution:
            return self._in_service(actor, lambda service: service.request(actor, wish, now, idempotency_key))

        try:
            return self._conflicts.once_more(once)
        except IntegrityError:
            if idempotency_key is None:
                raise
            # The same key came twice at the same moment; the other request has won and is found now.
            return self._conflicts.once_more(once)

    def cancel(self, actor: Actor, execution_id: str, now: datetime) -> Execution:
        """`ExecutionService.cancel`, committed."""
        return self._conflicts.once_more(
            lambda: self._in_service(actor, lambda service: service.cancel(actor, execution_id, now))
        )

    def approve(self, actor: Actor, execution_id: str, signature: Signature, now: datetime) -> Execution:
        """`Decisions.approve`, committed."""
        return self._decided(actor, lambda decisions: decisions.approve(actor, execution_id, signature, now))

    def break_glass(self, actor: Actor, execution_id: str, envelope: str, now: datetime) -> Execution:
        """`Decisions.break_glass`, committed."""
        return self._decided(actor, lambda decisions: decisions.break_glass(actor, execution_id, envelope, now))

    def refuse(self, actor: Actor, execution_id: str, reason: str, now: datetime) -> Execution:
        """`Decisions.refuse`, committed."""
        return self._decided(actor, lambda decisions: decisions.refuse(actor, execution_id, reason, now))

    def consent(self, actor: Actor, execution_id: str, code: str, now: datetime) -> Execution:
        """`Decisions.consent`, committed."""
        return self._decided(actor, lambda decisions: decisions.consent(actor, execution_id, code, now))

    def cancel_waiting(self, actor: Actor, code: str, now: datetime) -> int:
        """All that has not been sent, in pieces of one transaction each; how many."""
        count = 0
        while True:
            piece = self._conflicts.once_more(
                lambda: self._in_service(actor, lambda service: service.cancel_waiting(actor, code, now))
            )
            if not piece:
                return count
            count += piece

    def _decided(self, actor: Actor, work: Callable[[Decisions], Execution]) -> Execution:
        def once() -> Execution:
            with transaction(self._engine, actor.reach) as session:
                devices = DeviceService(DeviceRepository(session, actor.tenant_id), self._cache)
                desk = Desk(session, actor.tenant_id, devices, self._dispatcher, self._outbound)
                return work(Decisions(desk))

        try:
            return self._conflicts.once_more(once)
        except IntegrityError as error:
            # Two signatures of one person at the same moment: the other was first.
            raise AlreadyApproved("this person has approved this already") from error

    def _in_service(self, actor: Actor, work: Callable[[ExecutionService], Done]) -> Done:
        with transaction(self._engine, actor.reach) as session:
            devices = DeviceService(DeviceRepository(session, actor.tenant_id), self._cache)
            service = ExecutionService(session, actor.tenant_id, devices, self._dispatcher, self._outbound)
            return work(service)
