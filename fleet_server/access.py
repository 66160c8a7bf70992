"""Who may come in at the JSON door, and how often: the caller behind the bearer token, within its rate."""

import math
import time
from typing import Annotated, Any

from fastapi import Depends, Request

from fleet_server.auth.dependencies import ActorDep, require
from fleet_server.auth.errors import RoleTooLow
from fleet_server.auth.roles import Actor, Permission
from fleet_server.errors import FleetError
from fleet_server.kit.rate_limit import TokenBuckets

RATE_PER_S = 100.0
BURST = 300


class TooManyRequests(FleetError):
    code = "too_many_requests"
    status = 429

    def __init__(self, wait_s: float) -> None:
        self.retry_after_s = max(1, math.ceil(wait_s))
        super().__init__(f"more than {RATE_PER_S:g} requests a second: come again in {self.retry_after_s} s")


async def caller(request: Request, actor: ActorDep) -> Actor:
    buckets: TokenBuckets = request.app.state.buckets
    wait_s = buckets.take(actor.id, time.monotonic())
    if wait_s > 0:
        raise TooManyRequests(wait_s)
    return actor


CallerDep = Annotated[Actor, Depends(caller)]


def needs(permission: Permission) -> Any:
    """For a route or a router: ``dependencies=[needs(Permission.DEVICES_READ)]``."""

    async def allowed(caller: CallerDep) -> Actor:
        return require(caller, permission)

    return Depends(allowed)


def needs_of_installation(permission: Permission) -> Any:
    """For what concerns every tenant: an operator counts in the installation's own tenant only."""

    async def allowed(request: Request, caller: CallerDep) -> Actor:
        return require_of_installation(request, caller, permission)

    return Depends(allowed)


def require_of_installation(request: Request, actor: Actor, permission: Permission) -> Actor:
    if actor.tenant_id != request.app.state.settings.tenant:
        raise RoleTooLow(permission, actor)
    return require(actor, permission)
