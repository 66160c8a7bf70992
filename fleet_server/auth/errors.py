"""Refusals at the door."""

from __future__ import annotations

from fleet_server.auth.roles import Actor, Permission
from fleet_server.errors import FleetError


class NotSignedIn(FleetError):
    code = "not_signed_in"
    status = 401


class RoleTooLow(FleetError):
    """The role, or the scopes of a token, do not have the permission."""

    code = "role_too_low"
    status = 403

    def __init__(self, permission: Permission, actor: Actor) -> None:
        narrowed = " with the scopes of this token" if actor.scopes is not None else ""
        narrowed += " in a tenant that is not yours" if actor.is_visiting else ""
        super().__init__(f"this needs {permission}, which the role {actor.role}{narrowed} does not have")


class RequestForged(FleetError):
    """An unsafe request from another site, or without this session's token."""

    code = "request_forged"
    status = 403


class SignInNeeded(FleetError):
    """A page was asked for without a session: answered by `dependencies.lead_to_sign_in`."""

    code = "sign_in_needed"
    status = 303

    def __init__(self, wanted: str) -> None:
        super().__init__("sign in to see this page")
        self.wanted = wanted


class StepUpNeeded(FleetError):
    """Something was asked for that needs a fresh proof: answered by `step_up.lead_to_step_up`."""

    code = "step_up_needed"
    status = 403

    def __init__(self, wanted: str) -> None:
        super().__init__("confirm who you are: this needs a proof that is at most 5 minutes old")
        self.wanted = wanted


class PersonNeeded(FleetError):
    """A token was brought to what only a person may do who has just confirmed who they are."""

    code = "person_needed"
    status = 403


class SignInBusy(FleetError):
    code = "sign_in_busy"
    status = 503


class TooManyTries(FleetError):
    code = "too_many_tries"
    status = 429

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"too many wrong tries came from this address: try again in {retry_after_s} s")


class PeopleKeyMissing(FleetError):
    """The key that seals people's secrets is not where it should be."""

    code = "people_key_missing"
    status = 503


class SecretUnreadable(FleetError):
    """Sealed with another key, or tampered with: the second factor has to be reset."""

    code = "secret_unreadable"
    status = 503


class NameTaken(FleetError):
    code = "name_taken"
    status = 409


class PersonUnknown(FleetError):
    code = "person_unknown"
    status = 404


class NameUnusable(FleetError):
    code = "name_unusable"
    status = 422


class PersonAboveYou(FleetError):
    """Somebody who may more than the caller, or a role that he cannot give."""

    code = "person_above_you"
    status = 403


class NotOneself(FleetError):
    code = "not_oneself"
    status = 409


class PasswordTooWeak(FleetError):
    code = "password_too_weak"
    status = 422

    def __init__(self, weakness: str) -> None:
        super().__init__(f"this password cannot be used: {weakness}")
        self.weakness = weakness


class OidcRefused(FleetError):
    """What came back from the OpenID provider is not a right answer to a question of this browser."""

    code = "oidc_refused"
    status = 403


class OidcNotLinked(FleetError):
    code = "oidc_not_linked"
    status = 403


class OidcUnavailable(FleetError):
    code = "oidc_unavailable"
    status = 503


class OidcNotOffered(FleetError):
    code = "oidc_not_offered"
    status = 404


class LinkTaken(FleetError):
    code = "link_taken"
    status = 409


class ScopesBeyondRole(FleetError):
    """A token can be narrowed, not widened."""

    code = "scopes_beyond_role"
    status = 422
