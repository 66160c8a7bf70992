"""HTTP door of the signer: where it stands, the emergency stop, and its lift."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from fleet_server.access import CallerDep, needs, needs_of_installation
from fleet_server.auth.roles import Actor, Permission
from fleet_server.executions.endpoints import ExecutionDeskDep
from fleet_server.kit.times import utc_now
from fleet_server.signer.messages import Standing
from fleet_server.signer.schemas import LiftAsked, SigningRead, StopAsked, signing_read
from fleet_server.signer.stopping import Stopping

router = APIRouter(prefix="/api/v1/signing", tags=["signing"])


def stopping(request: Request, desk: ExecutionDeskDep) -> Stopping:
    state = request.app.state
    return Stopping(state.engine, state.settings, state.signer, desk)


StoppingDep = Annotated[Stopping, Depends(stopping)]


@router.get("", dependencies=[needs(Permission.APPROVALS_READ)])
def get_signing(stops: StoppingDep, caller: CallerDep) -> SigningRead:
    """Whether commands are signed, who may allow changes, and how many were signed in the last hour."""
    now = utc_now()
    return _read(stops, stops.standing(now), caller, now)


@router.post("/stop", dependencies=[needs_of_installation(Permission.SIGNING_STOP)])
def stop_signing(asked: StopAsked, stops: StoppingDep, caller: CallerDep) -> SigningRead:
    """Ends all signing and cancels all that waits. Terminals run nothing that changes them until it is lifted."""
    now = utc_now()
    return _read(stops, stops.stop(caller, asked.reason, now), caller, now)


@router.post("/lift", dependencies=[needs(Permission.APPROVALS_READ)])
def lift_stop(asked: LiftAsked, stops: StoppingDep, caller: CallerDep) -> SigningRead:
    """Brings the lift that approvers signed; the signatures decide, not who brings them."""
    now = utc_now()
    return _read(stops, stops.lift(caller, asked.envelope, now), caller, now)


def _read(stops: Stopping, standing: Standing, caller: Actor, now: datetime) -> SigningRead:
    tenant_id = caller.tenant_id
    is_own = tenant_id == stops.settings.tenant
    return signing_read(standing, tenant_id, stops.approvers(tenant_id, now), is_own=is_own)
