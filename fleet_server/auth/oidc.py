"""An OpenID provider of the customer's, asked who somebody is: OpenID Connect, code flow with PKCE, state and nonce.

What the provider says counts only when it is signed with one of its keys by an asymmetric algorithm, for this client,
in answer to this very question. Its documents are kept for `KEPT_S`; keys that are not among the kept ones are asked
for again, at most each `ASK_AGAIN_S`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import httpx2
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fleet_server.auth.errors import OidcRefused, OidcUnavailable

KEPT_S = 600.0
ASK_AGAIN_S = 60.0
_TIMEOUT_S = 5.0
_LEEWAY_S = 60
_MAX_ANSWER_BYTES = 262_144
# Symmetric ones would be signed with a secret that we share; "none" with nothing.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
_SCOPE = "openid profile"


@dataclass(frozen=True, slots=True)
class Question:
    """What was sent along and must come back, or be proved. Kept by the server, bound to one browser."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Question:
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says it is. ``suggested_name`` is a wish, not an identity. ``belongs_to``: what the
    claim says that was asked about.
    """

    subject: str
    suggested_name: str
    belongs_to: tuple[str, ...] = ()


class Provider:
    """One for a process; safe in threads."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        redirect_uri: str,
        clock: Callable[[], float] = time.monotonic,
        tenant_claim: str = "",
    ) -> None:
        """``tenant_claim``: which claim says of whose people somebody is; empty: none does."""
        self._tenant_claim = tenant_claim
        self._issuer = issuer
        self._client_id = client_id
        self._auth = ClientAuth(client_id, client_secret, "client_secret_basic" if client_secret else "none")
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._lock = Lock()
        self._about: Mapping[str, Any] = {}
        self._about_at_s = self._keys_at_s = -KEPT_S
        self._keys = KeySet([])

    def address_for(self, question: Question) -> str:
        address: str = prepare_grant_uri(
            self._document()["authorization_endpoint"],
            self._client_id,
            "code",
            redirect_uri=self._redirect_uri,
            scope=_SCOPE,
            state=question.state,
            nonce=question.nonce,
            code_challenge=create_s256_code_challenge(question.verifier),
            code_challenge_method="S256",
        )
        return address

    def ask(self, question: Question, code: str, said_issuer: str = "") -> Identity:
        """Who the person is that came back with ``code``. Raises `OidcRefused` or `OidcUnavailable`.

        ``said_issuer``: what the browser brought (RFC 9207), so that no code of one provider is shown to another.
        """
        names_itself = self._document().get("authorization_response_iss_parameter_supported") is True
        if said_issuer != self._issuer and (said_issuer or names_itself):
            raise OidcRefused("this answer is of another OpenID provider")
        token = self._exchange(question, code)
        raw = token.get("id_token")
        if not isinstance(raw, str):
            raise OidcRefused("the provider's answer has no id_token")
        claims = self._claims(raw)
        checked = CodeIDToken(
            claims.claims,
            claims.header,
            options={
                "iss": {"essential": True, "value": self._issuer},
                "aud": {"essential": True, "value": self._client_id},
                "nonce": {"essential": True, "value": question.nonce},
            },
            params={"nonce": question.nonce, "client_id": self._client_id, "access_token": token.get("access_token")},
        )
        try:
            checked.validate(leeway=_LEEWAY_S)
        except JoseError as error:
            raise OidcRefused(f"the provider's id_token is not for us: {error}") from error
        subject = checked["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise OidcRefused("the provider's id_token names nobody: expected sub, 1 to 255 characters")
        wish = checked.get("preferred_username") or checked.get("name") or ""
        said = checked.get(self._tenant_claim) if self._tenant_claim else None
        belongs_to = said if isinstance(said, list) else [said]
        texts = tuple(one for one in belongs_to if isinstance(one, str))
        return Identity(subject, wish if isinstance(wish, str) else "", texts)

    def _claims(self, raw: str) -> jwt.Token:
        try:
            return jwt.decode(raw, self._key_set(), algorithms=_ALGORITHMS)
        except (JoseError, ValueError) as error:
            if not self._has_new_keys():
                raise OidcRefused("the provider's id_token is not signed with one of its keys") from error
        try:
            return jwt.decode(raw, self._key_set(), algorithms=_ALGORITHMS)
        except (JoseError, ValueError) as error:
            raise OidcRefused("the provider's id_token is not signed with one of its keys") from error

    def _exchange(self, question: Question, code: str) -> Mapping[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        address = self._document()["token_endpoint"]
        body = prepare_token_request(
            "authorization_code", redirect_uri=self._redirect_uri, code=code, code_verifier=question.verifier
        )
        address, headers, body = self._auth.prepare("POST", address, headers, body)
        return _answer(lambda: httpx2.post(address, content=body, headers=headers, timeout=_TIMEOUT_S))

    def _document(self) -> Mapping[str, Any]:
        with self._lock:
            if self._clock() - self._about_at_s >= KEPT_S:
                address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
                about = _answer(lambda: httpx2.get(address, timeout=_TIMEOUT_S))
                if about.get("issuer") != self._issuer:
                    raise OidcUnavailable(
                        f"{address} is not about {self._issuer}: it says {about.get('issuer')!r:.100}"
                    )
                self._about, self._about_at_s = about, self._clock()
            return self._about

    def _key_set(self) -> KeySet:
        about = self._document()
        with self._lock:
            if self._clock() - self._keys_at_s >= KEPT_S:
                self._keys = _keys_at(about["jwks_uri"])
                self._keys_at_s = self._clock()
            return self._keys

    def _has_new_keys(self) -> bool:
        """The provider may have changed them; a forged token must not make us ask without end."""
        about = self._document()
        with self._lock:
            if self._clock() - self._keys_at_s < ASK_AGAIN_S:
                return False
            self._keys = _keys_at(about["jwks_uri"])
            self._keys_at_s = self._clock()
            return True


def _keys_at(address: str) -> KeySet:
    try:
        return KeySet.import_key_set(_answer(lambda: httpx2.get(address, timeout=_TIMEOUT_S)))  # type: ignore[arg-type]  # checked by the library
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise OidcUnavailable(f"{address} has no keys that can be used") from error


def _answer(ask: Callable[[], httpx2.Response]) -> Mapping[str, Any]:
    """The JSON object of an answer; what was asked is not repeated in errors, because it may hold secrets."""
    try:
        answer = ask()
        content = answer.json() if len(answer.content) <= _MAX_ANSWER_BYTES else None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise OidcUnavailable(f"the OpenID provider cannot be reached: {type(error).__name__}") from error
    except ValueError as error:
        raise OidcUnavailable("the OpenID provider's answer is not JSON") from error
    if not isinstance(content, dict):
        raise OidcUnavailable("the OpenID provider's answer is no JSON object, or too large")
    if answer.is_client_error:
        raise OidcRefused(f"the OpenID provider refused: {str(content.get('error'))[:60]}")
    if not answer.is_success:
        raise OidcUnavailable(f"the OpenID provider answered {answer.status_code}")
    return content
