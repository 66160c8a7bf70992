"""HTTP door of the signer: where it stands, the emergency stop, and its lift."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from fleet_server.access import CallerDep, needs, needs_of_installation
from fleet_server.auth.roles import Permission
from fleet_server.executions.endpoints import ExecutionDeskDep
from fleet_server.kit.times import utc_now
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
    return signing_read(stops.standing(utc_now()), caller.tenant_id)


@router.post("/stop", dependencies=[needs_of_installation(Permission.SIGNING_STOP)])
def stop_signing(asked: StopAsked, stops: StoppingDep, caller: CallerDep) -> SigningRead:
    """Ends all signing and cancels all that waits. Terminals run nothing that changes them until it is lifted."""
    return signing_read(stops.stop(caller, asked.reason, utc_now()), caller.tenant_id)


@router.post("/lift", dependencies=[needs(Permission.APPROVALS_READ)])
def lift_stop(asked: LiftAsked, stops: StoppingDep, caller: CallerDep) -> SigningRead:
    """Brings the lift that approvers signed; the signatures decide, not who brings them."""
    return signing_read(stops.lift(caller, asked.envelope, utc_now()), caller.tenant_id)
