"""The approval page's own door: signing in, what waits, decisions. Nothing of it is for programs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from fleet_server.approvals.documents import Documents, keys_of_person
from fleet_server.approvals.page.schemas import (
    DecisionRead,
    DeskRead,
    ProofAsked,
    SessionRead,
    SignInAsked,
    WaitingRead,
    waiting_read,
)
from fleet_server.approvals.page.sessions import (
    ApproverSessionDep,
    DecidingSessionDep,
    Marks,
    MarksDep,
    SecretDep,
    opened,
    own_origin_only,
)
from fleet_server.approvals.schemas import RefusalAsked, SignatureAsked
from fleet_server.auth.dependencies import AuthServiceDep, ProofsDep
from fleet_server.auth.roles import Permission
from fleet_server.auth.sessions import SignedIn, Stage
from fleet_server.executions.endpoints import ExecutionDeskDep
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep
from protocol.signing import Signature

router = APIRouter(dependencies=[Depends(own_origin_only)])
IdPath = Annotated[str, Path(max_length=64)]


def own_keys(request: Request, session: ApproverSessionDep) -> list[str]:
    """Asked of the signer: the policy is its."""
    policy = request.app.state.dispatcher.policy(utc_now())
    return keys_of_person(policy, session.actor.tenant_id, session.actor.name)


OwnKeysDep = Annotated[list[str], Depends(own_keys)]


def documents(session: SessionDep, signed_in: ApproverSessionDep) -> Documents:
    return Documents(session, signed_in.actor.tenant_id)


DocumentsDep = Annotated[Documents, Depends(documents)]


@router.post("/session")
def sign_in(asked: SignInAsked, request: Request, service: AuthServiceDep, known: MarksDep) -> SessionRead:
    agent = request.headers.get("user-agent", "")
    made = service.sign_in(asked.name, asked.password, address=_address(request), user_agent=agent, now=utc_now())
    return _session_read(known, opened(made))


@router.post("/session/code")
def give_code(
    asked: ProofAsked, secret: SecretDep, request: Request, proofs: ProofsDep, known: MarksDep
) -> SessionRead:
    made = proofs.give_code(secret, asked.proof, address=_address(request), now=utc_now())
    return _session_read(known, opened(made))


@router.post("/session/proof")
def step_up(asked: ProofAsked, secret: SecretDep, request: Request, proofs: ProofsDep, known: MarksDep) -> SessionRead:
    """Shows again who it is: decisions need that to be at most 5 minutes ago."""
    made = proofs.step_up(secret, asked.proof, address=_address(request), now=utc_now())
    return _session_read(known, opened(made))


@router.post("/session/end", status_code=204)
def sign_out(secret: SecretDep, service: AuthServiceDep) -> None:
    service.sign_out(secret, now=utc_now())


@router.get("/waiting")
def list_waiting(session: ApproverSessionDep, kept: DocumentsDep, keys: OwnKeysDep) -> DeskRead:
    return DeskRead(
        person=session.actor.name,
        may_decide=session.actor.may(Permission.APPROVALS_DECIDE),
        keys=keys,
        items=[waiting_read(one) for one in kept.list_awaited(utc_now())],
    )


@router.get("/waiting/{execution_id}")
def get_waiting(execution_id: IdPath, kept: DocumentsDep) -> WaitingRead:
    return waiting_read(kept.awaited(execution_id))


@router.post("/waiting/{execution_id}/signature")
def sign(
    execution_id: IdPath, asked: SignatureAsked, session: DecidingSessionDep, desk: ExecutionDeskDep
) -> DecisionRead:
    """By a key of whoever is signed in, over exactly what waits: the desk takes no other of a person."""
    signature = Signature(asked.key_id, asked.signature_base64)
    return DecisionRead(state=desk.approve(session.actor, execution_id, signature, utc_now()).state)


@router.post("/waiting/{execution_id}/refusal")
def refuse(
    execution_id: IdPath, asked: RefusalAsked, session: DecidingSessionDep, desk: ExecutionDeskDep
) -> DecisionRead:
    return DecisionRead(state=desk.refuse(session.actor, execution_id, asked.reason, utc_now()).state)


def _session_read(known: Marks, signed_in: SignedIn) -> SessionRead:
    session = signed_in.session
    return SessionRead(
        session=known.mark(signed_in.secret),
        person=session.actor.name,
        needs_code=session.stage is Stage.CODE,
        has_second_factor=session.has_second_factor,
    )


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
