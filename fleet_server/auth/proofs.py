"""What follows the password: a code of the second factor, setting one up, and fresh proofs in an open session.

Invariant: each wrong one counts as a try of the name, whoever gives it and wherever; whoever locks a name from inside a
session loses that session.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.second_factor import NewSecret, Proof
from fleet_server.auth.service import Doorkeeping, has_password, unchanged
from fleet_server.auth.sessions import OPEN_ONLY, SignedIn, Stage, actor_of, digest, find_alive, renew_session
from fleet_server.db import transaction

SETTING_UP = frozenset({Stage.OPEN, Stage.ENROL})


@dataclass(frozen=True, slots=True)
class SetUp:
    """``recovery_codes`` are shown once and kept as hashes."""

    signed_in: SignedIn
    recovery_codes: tuple[str, ...]


class Proofs:
    def __init__(self, door: Doorkeeping) -> None:
        self._door = door
        self._engine = door.engine
        self._tries = door.tries

    def give_code(self, secret: str, code: str, *, address: str, now: datetime) -> SignedIn | None:
        """The second step of a sign-in. ``code``: from the authenticator, or one of the recovery codes."""
        person = self._begin(secret, {Stage.CODE}, address, now)
        if person is None:
            return None
        with transaction(self._engine) as session:
            held = self._held(session, secret, person)
            proof = held and self._taken(held, code, now)
            if held and proof:
                details = {"second_factor": proof.value}
                record(session, actor_of(held.person), "sign_in", held.person.name, details, address=address, now=now)
                return self._renewed(held, address, now)
        self._refuse("code_refused", secret, person.name, address, now)
        return None

    def step_up(self, secret: str, proof: str, *, address: str, now: datetime) -> SignedIn | None:
        """The open session under a new id. ``proof``: a code of the second factor; the password of whoever has none."""
        person = self._begin(secret, OPEN_ONLY, address, now)
        if person is None:
            return None
        by_password = not person.totp_sealed
        if by_password and not has_password(self._door, person, proof, address):
            self._refuse("step_up_refused", secret, person.name, address, now)
            return None
        with transaction(self._engine) as session:
            held = self._held(session, secret, person)
            how = held and (Proof.PASSWORD if by_password else self._taken(held, proof, now))
            if held and how:
                actor, details = actor_of(held.person), {"by": how.value}
                record(session, actor, "step_up", held.person.name, details, address=address, now=now)
                return self._renewed(held, address, now)
        self._refuse("step_up_refused", secret, person.name, address, now)
        return None

    def begin_set_up(self, secret: str, *, now: datetime) -> bool:
        """Makes a secret for a second factor to be. False without a session."""
        found = find_alive(self._engine, self._door.uses, secret, now, SETTING_UP)
        if found is None:
            return False
        with transaction(self._engine) as session:
            person = AuthRepository(session).lock_person(found[1].name)
            if person is not None:
                self._door.factors.begin(person)
        return person is not None

    def begun_set_up(self, secret: str, now: datetime) -> NewSecret | None:
        found = find_alive(self._engine, self._door.uses, secret, now, SETTING_UP)
        return None if found is None else self._door.factors.begun(found[1])

    def confirm_set_up(self, secret: str, code: str, *, address: str, now: datetime) -> SetUp | None:
        """The first code of the new secret makes it count. All other sessions of the person end."""
        person = self._begin(secret, SETTING_UP, address, now)
        if person is None:
            return None
        with transaction(self._engine) as session:
            held = self._held(session, secret, person)
            codes = held and self._door.factors.confirm(held.repository, held.person, code, now)
            if held and codes:
                actor = actor_of(held.person)
                record(session, actor, "second_factor_set", held.person.name, address=address, now=now)
                if held.row.stage == Stage.ENROL:
                    record(session, actor, "sign_in", held.person.name, address=address, now=now)
                held.repository.remove_sessions_of(held.person, but=held.row.id_sha256)
                return SetUp(self._renewed(held, address, now), codes)
        self._refuse("code_refused", secret, person.name, address, now)
        return None

    def _begin(self, secret: str, stages: frozenset[Stage] | set[Stage], address: str, now: datetime) -> User | None:
        """The person of a living session, with this try counted; None also while the name is locked."""
        found = find_alive(self._engine, self._door.uses, secret, now, stages)
        if found is None:
            return None
        self._door.limits.take(address)
        return self._tries.count(found[1].name, now)

    def _held(self, session: Session, secret: str, person: User) -> _Held | None:
        repository = AuthRepository(session)
        known = unchanged(repository, person)
        row = repository.lock_session(digest(secret))
        return None if known is None or row is None else _Held(session, repository, known, row)

    def _taken(self, held: _Held, code: str, now: datetime) -> Proof | None:
        return self._door.factors.take(held.repository, held.person, code, now)

    def _renewed(self, held: _Held, address: str, now: datetime) -> SignedIn:
        self._tries.forget(held.session, held.person)
        self._door.limits.give_back(address)
        return renew_session(held.repository, held.row, held.person, now)

    def _refuse(self, action: str, secret: str, name: str, address: str, now: datetime) -> None:
        if self._tries.note_refusal(action, name, address, now):
            # Whoever guesses here has somebody's session or somebody's password.
            with transaction(self._engine) as session:
                AuthRepository(session).remove_session(digest(secret))


@dataclass(frozen=True, slots=True)
class _Held:
    """Rows that nobody else changes until the transaction ends."""

    session: Session
    repository: AuthRepository
    person: User
    row: LoginSession
