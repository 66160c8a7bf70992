"""The door that devices knock at before they have an identity, and when theirs is to be renewed. Open to all: what is
asked for is worth nothing without a code or a key, and whoever guesses is soon not answered any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Body, Depends, Request, Response
from sqlalchemy import Engine

from fleet_server.db import transaction
from fleet_server.enrollment.admission import Admission, Refusal
from fleet_server.enrollment.errors import AuthorityUnknown, TooManyTries
from fleet_server.issuer.client import IssuerClient
from fleet_server.issuer.errors import ProofInvalid, RequestRefused
from fleet_server.kit.rate_limit import TokenBuckets
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings
from protocol.enrolment import Enrolled, EnrolRequest, Pending, Renewed, RenewRequest

router = APIRouter(prefix="/enrol/v1", tags=["enrolment of devices"])
# Wrong tries of one address: a technician's slips, and then one a minute.
GUESSES = 10
GUESSES_PER_S = 1 / 60
PEM = "application/x-pem-file"

AskT = TypeVar("AskT", EnrolRequest, RenewRequest)


def _described(kind: type[EnrolRequest | RenewRequest]) -> dict[str, Any]:
    """What is asked for, for the API's description: of the types of the wire the framework knows nothing."""
    _, shapes = msgspec.json.schema_components([kind])
    return {"requestBody": {"content": {"application/json": {"schema": shapes[kind.__name__]}}}}


def issuer_of_app(request: Request) -> IssuerClient:
    issuer: IssuerClient = request.app.state.issuer
    return issuer


IssuerDep = Annotated[IssuerClient, Depends(issuer_of_app)]


def guesses_of(request: Request) -> TokenBuckets:
    buckets: TokenBuckets = request.app.state.guesses
    return buckets


@router.get("/authority", response_class=Response, responses={200: {"content": {PEM: {}}}})
def authority(request: Request) -> Response:
    """The certificate of the authority as PEM; its fingerprint is in every code."""
    settings: ServerSettings = request.app.state.settings
    try:
        pem = (settings.keys_dir / "ca.crt").read_bytes()
    except OSError as error:
        raise AuthorityUnknown("this server has no certificate of an authority to show") from error
    return Response(pem, media_type=PEM)


@router.post(
    "/requests",
    responses={202: {"description": "a person has to let this device in"}},
    openapi_extra=_described(EnrolRequest),
)
def enrol(request: Request, issuer: IssuerDep, body: Annotated[dict[str, str], Body()]) -> Response:
    """A code, a signing request and a proof of its key: `protocol.enrolment.EnrolRequest`."""
    asked = _as(body, EnrolRequest)
    return _answer(request, lambda admission, address: admission.enrol(asked, address), issuer)


@router.post(
    "/renewals",
    responses={202: {"description": "a person has to let this device in again"}},
    openapi_extra=_described(RenewRequest),
)
def renew(request: Request, issuer: IssuerDep, body: Annotated[dict[str, str], Body()]) -> Response:
    """A new certificate for a link, proved by the key it has: `protocol.enrolment.RenewRequest`."""
    asked = _as(body, RenewRequest)
    return _answer(request, lambda admission, _address: admission.renew(asked), issuer)


def _answer(
    request: Request,
    ask: Callable[[Admission, str], Enrolled | Renewed | Pending | Refusal],
    issuer: IssuerClient,
) -> Response:
    address = request.client.host if request.client else ""
    guesses = guesses_of(request)
    wait_s = guesses.wait_s(address, time.monotonic())
    if wait_s > 0:
        raise TooManyTries(wait_s)
    engine: Engine = request.app.state.engine
    try:
        with transaction(engine) as session:
            outcome = ask(Admission(session, issuer, request.app.state.settings, utc_now()), address)
    except ProofInvalid:
        guesses.take(address, time.monotonic())
        raise
    if isinstance(outcome, Refusal):
        # Raised only now: a wrong try was counted in the transaction.
        if outcome.is_guess:
            guesses.take(address, time.monotonic())
        raise outcome.error
    status = 202 if isinstance(outcome, Pending) else 200
    return Response(msgspec.json.encode(outcome), status, media_type="application/json")


def _as(body: dict[str, str], kind: type[AskT]) -> AskT:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise RequestRefused(str(error)[:200]) from error
