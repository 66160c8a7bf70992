"""Signing in by an OpenID provider: whose link it is, and what the browser has to bring back.

The provider stands in for the password, not for the second factor. A person is found by a link that was made before,
from issuer and subject; a name or an address in the answer gives nobody anything. People are made on the fly only where
the installation names a role for them. Where it says which claim tells tenants apart, somebody is let in only to the
tenant that his claim names, linked or made.

Invariant: a question is answered once, in the browser that asked it, within `QUESTION_LIMIT`.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from fleet_server.audit.service import SYSTEM, record
from fleet_server.auth.errors import OidcNotLinked, OidcRefused
from fleet_server.auth.models import OidcQuestion, User
from fleet_server.auth.oidc import Identity, Provider, Question
from fleet_server.auth.people import MAX_NAME_CHARS, People, is_usable_name
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.auth.service import Doorkeeping, stage_after_password
from fleet_server.auth.sessions import Place, SignedIn, Stage, actor_of, digest, open_session
from fleet_server.db import transaction
from fleet_server.tenants.repository import TenantRepository, is_suspended

QUESTION_LIMIT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class OidcRules:
    """``tenant_id``: the installation's own. ``new_people`` None: nobody is made on the fly. ``tenants``: by what the
    provider's claim says; None: it is not asked.
    """

    issuer: str
    tenant_id: str
    new_people: Role | None
    tenants: Mapping[str, str] | None = None

    def tenant_of(self, identity: Identity) -> str | None:
        """None for somebody of no tenant here, or of more than one."""
        if self.tenants is None:
            return self.tenant_id
        found = {self.tenants[one] for one in identity.belongs_to if one in self.tenants}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Asked:
    """``secret`` goes into a cookie of the browser, ``address`` is where it is sent."""

    secret: str
    address: str


@dataclass(frozen=True, slots=True)
class CameBack:
    """What the browser brings in its address."""

    state: str
    code: str
    issuer: str = ""


class OidcSignIn:
    def __init__(self, door: Doorkeeping, provider: Provider, rules: OidcRules) -> None:
        self._door = door
        self._engine = door.engine
        self._provider = provider
        self._rules = rules

    def ask(self, wanted: str, now: datetime) -> Asked:
        question, secret = Question.new(), secrets.token_urlsafe(32)
        # Before anything is written: the provider may be away.
        address = self._provider.address_for(question)
        row = OidcQuestion(
            id_sha256=digest(secret),
            tenant_id=self._rules.tenant_id,
            state=question.state,
            nonce=question.nonce,
            verifier=question.verifier,
            wanted=wanted,
            expires_at=now + QUESTION_LIMIT,
        )
        with transaction(self._engine) as session:
            AuthRepository(session).add(row)
        return Asked(secret, address)

    def answer(
        self, secret: str, back: CameBack, *, place: Place, now: datetime, replaces: str | None = None
    ) -> tuple[SignedIn, str]:
        """The session, and where to go. ``secret``: the cookie of the browser that came back."""
        row = self._taken(secret, now)
        if row is None or not hmac.compare_digest(row.state.encode(), back.state.encode()):
            raise OidcRefused("this answer is not to a question that this browser asked in the last 10 minutes")
        identity = self._provider.ask(Question(row.state, row.nonce, row.verifier), back.code, back.issuer)
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            person = self._person(session, identity, now)
            if person is None:
                # Kept although the request is refused: whoever makes the link needs the subject.
                tenant_id = self._rules.tenant_of(identity) or self._rules.tenant_id
                who = Actor("", "unknown", Role.VIEWER, tenant_id, ActorKind.PERSON)
                personal = {"subject": identity.subject}
                record(session, who, "oidc_refused", address=place.address, personal=personal, now=now)
            else:
                if replaces:
                    repository.remove_session(digest(replaces))
                stage = stage_after_password(self._door, person)
                if stage is Stage.OPEN:
                    details = {"by": "oidc"}
                    record(session, actor_of(person), "sign_in", person.name, details, address=place.address, now=now)
                return open_session(repository, person, place, now, stage=stage), row.wanted
        raise OidcNotLinked("your account at the OpenID provider is linked to nobody here, or disabled")

    def _taken(self, secret: str, now: datetime) -> OidcQuestion | None:
        """Answered once: the question is gone before the provider is asked."""
        with transaction(self._engine) as session:
            row = AuthRepository(session).take_question(digest(secret))
        return None if row is None or row.expires_at <= now else row

    def _person(self, session: Session, identity: Identity, now: datetime) -> User | None:
        tenant_id = self._rules.tenant_of(identity)
        is_told = self._rules.tenants is not None
        if tenant_id is None or (is_told and TenantRepository(session).find(tenant_id) is None):
            return None
        person = AuthRepository(session).find_linked(self._rules.issuer, identity.subject)
        if person is not None and is_told and person.tenant_id != tenant_id:
            return None
        if person is None and self._rules.new_people is not None:
            person = self._make(session, identity, self._rules.new_people, tenant_id, now)
        if person is None or person.disabled_at is not None or is_suspended(session, person.tenant_id):
            return None
        return person

    def _make(self, session: Session, identity: Identity, role: Role, tenant_id: str, now: datetime) -> User | None:
        repository = AuthRepository(session)
        name = identity.suggested_name[:MAX_NAME_CHARS].strip()
        if not is_usable_name(name) or repository.find_person(name) is not None:
            # Never the account of somebody who was there before.
            name = f"oidc-{digest(identity.subject)[:12]}"
        system = Actor("", SYSTEM, Role.OPERATOR, tenant_id, ActorKind.PERSON)
        people = People(session, system, now)
        person_id = people.add_without_code(name, role)
        people.link(person_id, self._rules.issuer, identity.subject)
        session.flush()
        return repository.find_person_by_id(tenant_id, person_id)
