"""A person gives himself a password: with the one before, or with a code for setting up that somebody handed over.

Invariant: nothing tells whether a name exists or waits to be set up: each try costs one comparison and one hash.
"""

from __future__ import annotations

import hmac
from datetime import datetime

from fleet_server.audit.service import record
from fleet_server.auth.errors import PasswordTooWeak, SignInBusy
from fleet_server.auth.one_time_codes import as_typed
from fleet_server.auth.password_rules import weakness_of
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.service import Doorkeeping, has_password, stage_after_password, unchanged
from fleet_server.auth.sessions import (
    OPEN_ONLY,
    Place,
    SignedIn,
    Stage,
    actor_of,
    digest,
    find_alive,
    open_session,
    renew_session,
)
from fleet_server.db import transaction


class OwnPassword:
    def __init__(self, door: Doorkeeping) -> None:
        self._door = door
        self._engine = door.engine
        self._tries = door.tries

    def change(
        self, secret: str, current: str, new: str, again: str, *, address: str, now: datetime
    ) -> SignedIn | None:
        """The session under a new id; all others of the person end. None when ``current`` is wrong."""
        found = find_alive(self._engine, self._door.uses, secret, now, OPEN_ONLY)
        if found is None:
            return None
        name = found[1].name
        _check(new, name, again)
        self._door.limits.take(address)
        hashed = self._hash(new, address)
        person = self._tries.count(name, now)
        if not has_password(self._door, person, current, address) or person is None:
            if self._tries.note_refusal("password_change_refused", name, address, now):
                with transaction(self._engine) as session:
                    AuthRepository(session).remove_session(digest(secret))
            return None
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            known, row = unchanged(repository, person), repository.lock_session(digest(secret))
            if known is None or row is None:
                return None
            known.password_hash = hashed
            self._tries.forget(session, known)
            repository.remove_sessions_of(known, but=row.id_sha256)
            record(session, actor_of(known), "password_set", known.name, address=address, now=now)
            renewed = renew_session(repository, row, known, now)
        self._door.limits.give_back(address)
        return renewed

    def set_up(self, name: str, code: str, new: str, again: str, *, place: Place, now: datetime) -> SignedIn | None:
        """The first password of a new person, or the next of one who forgot it. The code is good once."""
        _check(new, name, again)
        self._door.limits.take(place.address)
        hashed = self._hash(new, place.address)
        person = self._tries.count(name, now)
        with transaction(self._engine) as session:
            repository = AuthRepository(session)
            known = None if person is None else unchanged(repository, person)
            if (
                known is not None
                and known.set_up_until is not None
                and now < known.set_up_until
                and hmac.compare_digest(known.set_up_sha256, digest(as_typed(code)))
            ):
                known.password_hash, known.set_up_sha256, known.set_up_until = hashed, "", None
                self._tries.forget(session, known)
                repository.remove_sessions_of(known)
                record(session, actor_of(known), "password_set", known.name, address=place.address, now=now)
                stage = stage_after_password(self._door, known)
                if stage is Stage.OPEN:
                    record(session, actor_of(known), "sign_in", known.name, address=place.address, now=now)
                opened = open_session(repository, known, place, now, stage=stage)
                self._door.limits.give_back(place.address)
                return opened
        self._tries.note_refusal("set_up_refused", name, place.address, now)
        return None

    def _hash(self, new: str, address: str) -> str:
        """Before the try is counted: it costs nothing when there is no room."""
        try:
            return self._door.passwords.hash(new)
        except SignInBusy:
            self._door.limits.give_back(address)
            raise


def _check(new: str, name: str, again: str) -> None:
    weakness = weakness_of(new, name, again)
    if weakness is not None:
        raise PasswordTooWeak(weakness)
