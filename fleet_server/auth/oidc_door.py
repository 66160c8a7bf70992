"""The door of the customer's OpenID provider: its settings, and the cookie that a question leaves in the browser."""

from typing import Annotated

from fastapi import Depends, Request, Response

from fleet_server.auth.dependencies import DoorkeepingDep, is_https
from fleet_server.auth.errors import OidcNotOffered
from fleet_server.auth.oidc import Provider
from fleet_server.auth.oidc_sign_in import QUESTION_LIMIT, OidcRules, OidcSignIn
from fleet_server.auth.roles import Role
from fleet_server.settings import ServerSettings

BACK = "/sign-in/oidc/back"


def oidc_sign_in(request: Request, door: DoorkeepingDep) -> OidcSignIn:
    settings: ServerSettings = request.app.state.settings
    if not settings.oidc_issuer:
        raise OidcNotOffered("this installation has no OpenID provider")
    rules = OidcRules(
        settings.oidc_issuer,
        settings.tenant,
        Role(settings.oidc_new_people_role) if settings.oidc_new_people_role else None,
        settings.oidc_tenant_of if settings.oidc_tenant_claim else None,
    )
    return OidcSignIn(door, _provider(request, settings), rules)


OidcSignInDep = Annotated[OidcSignIn, Depends(oidc_sign_in)]


def _provider(request: Request, settings: ServerSettings) -> Provider:
    """One for the process: it keeps the provider's documents."""
    state = request.app.state
    if not hasattr(state, "oidc_provider"):
        state.oidc_provider = Provider(
            settings.oidc_issuer,
            settings.oidc_client_id,
            settings.oidc_client_secret,
            settings.url + BACK,
            tenant_claim=settings.oidc_tenant_claim,
        )
    provider: Provider = state.oidc_provider
    return provider


def question_cookie_name(request: Request) -> str:
    return "__Host-tillmedic-oidc" if is_https(request) else "tillmedic-oidc"


def set_question_cookie(request: Request, response: Response, secret: str) -> None:
    """Lax, unlike the session's: it has to come along when the provider leads back."""
    response.set_cookie(
        question_cookie_name(request),
        secret,
        max_age=int(QUESTION_LIMIT.total_seconds()),
        path="/",
        secure=is_https(request),
        httponly=True,
        samesite="lax",
    )


def clear_question_cookie(request: Request, response: Response) -> None:
    response.delete_cookie(
        question_cookie_name(request), path="/", secure=is_https(request), httponly=True, samesite="lax"
    )
