"""The second factor of a person, in somebody's transaction with the person's row held: set up, checked, taken away.

Invariant: a code is taken once. The step of the last one is in the row, and rows are held while codes are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from fleet_server.auth.models import RecoveryCode, User
from fleet_server.auth.one_time_codes import (
    address_for_authenticator,
    as_typed,
    new_recovery_codes,
    new_secret,
    step_of,
)
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.secret_box import SecretBox
from fleet_server.auth.sessions import digest

# Of a person who has none; recovery codes are taken away beside it.
NO_SECOND_FACTOR: Mapping[str, object] = {"totp_sealed": "", "totp_new_sealed": "", "totp_step": 0}


class Proof(StrEnum):
    """What somebody showed, as the audit names it."""

    PASSWORD = "password"  # noqa: S105  # a kind, not a secret
    CODE = "code"
    RECOVERY_CODE = "recovery_code"


@dataclass(frozen=True, slots=True)
class NewSecret:
    """To be shown to its person only, until the first code from it."""

    secret: str
    address: str  # for the picture that an authenticator reads


class SecondFactors:
    """``is_required``: nobody works here without one."""

    def __init__(self, key_file: Path, *, is_required: bool = True) -> None:
        self._box = SecretBox(key_file)
        self.is_required = is_required

    def begin(self, person: User) -> None:
        """The present one, if any, counts until the new one is confirmed."""
        person.totp_new_sealed = self._box.seal(new_secret(), person.id)

    def begun(self, person: User) -> NewSecret | None:
        if not person.totp_new_sealed:
            return None
        secret = self._box.open(person.totp_new_sealed, person.id)
        return NewSecret(secret, address_for_authenticator(secret, person.name))

    def confirm(self, repository: AuthRepository, person: User, code: str, now: datetime) -> tuple[str, ...] | None:
        """The recovery codes, to be shown once; None when the code is not one of the new secret."""
        begun = self.begun(person)
        step = None if begun is None else step_of(begun.secret, as_typed(code), now, after=0)
        if step is None:
            return None
        person.totp_sealed, person.totp_new_sealed, person.totp_step = person.totp_new_sealed, "", step
        return self.renew_recovery_codes(repository, person, now)

    def renew_recovery_codes(self, repository: AuthRepository, person: User, now: datetime) -> tuple[str, ...]:
        repository.remove_recovery_codes_of(person)
        codes = new_recovery_codes()
        for code in codes:
            repository.add(
                RecoveryCode(id_sha256=digest(code), tenant_id=person.tenant_id, user_id=person.id, created_at=now)
            )
        return codes

    def reseal(self, person: User) -> None:
        """After a change of keys."""
        if person.totp_sealed:
            person.totp_sealed = self._box.seal(self._box.open(person.totp_sealed, person.id), person.id)
        if person.totp_new_sealed:
            person.totp_new_sealed = self._box.seal(self._box.open(person.totp_new_sealed, person.id), person.id)

    def take(self, repository: AuthRepository, person: User, code: str, now: datetime) -> Proof | None:
        """None when the code is wrong, was taken before, or the person has no second factor."""
        if not person.totp_sealed:
            return None
        typed = as_typed(code)
        step = step_of(self._box.open(person.totp_sealed, person.id), typed, now, after=person.totp_step)
        if step is not None:
            person.totp_step = step
            return Proof.CODE
        recovery = repository.lock_recovery_code(digest(typed), person.id)
        if recovery is None or recovery.used_at is not None:
            return None
        recovery.used_at = now
        return Proof.RECOVERY_CODE
