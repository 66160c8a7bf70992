"""Asking for an execution in one transaction and one thread, from opening the session to its commit.

The other doors get their session from a dependency, which costs a change of threads at each end. The way from a request
to its verdict is short enough for that to be seen.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from fleet_server.auth.roles import Actor
from fleet_server.db import transaction
from fleet_server.devices.repository import DeviceRepository
from fleet_server.devices.service import CapabilityCache, DeviceService
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.models import Execution
from fleet_server.executions.outbound import Outbound
from fleet_server.executions.service import ExecutionService, Wish


class ExecutionDesk:
    def __init__(self, engine: Engine, cache: CapabilityCache, dispatcher: Dispatcher, outbound: Outbound) -> None:
        self._engine = engine
        self._cache = cache
        self._dispatcher = dispatcher
        self._outbound = outbound

    def request(self, actor: Actor, wish: Wish, now: datetime, idempotency_key: str | None = None) -> Execution:
        """`ExecutionService.request`, committed."""
        try:
            return self._once(actor, wish, now, idempotency_key)
        except IntegrityError:
            if idempotency_key is None:
                raise
            # The same key came twice at the same moment; the other request has won and is found now.
            return self._once(actor, wish, now, idempotency_key)

    def _once(self, actor: Actor, wish: Wish, now: datetime, idempotency_key: str | None) -> Execution:
        with transaction(self._engine) as session:
            devices = DeviceService(DeviceRepository(session, actor.tenant_id), self._cache)
            service = ExecutionService(session, actor.tenant_id, devices, self._dispatcher, self._outbound)
            return service.request(actor, wish, now, idempotency_key)
