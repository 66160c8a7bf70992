"""Questions to the tables of people, sessions and tokens. People's names are unique over all tenants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, update
from sqlmodel import Session, col, select

from fleet_server.auth.models import ApiToken, LoginSession, RecoveryCode, User


class AuthRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def find_person(self, name: str) -> User | None:
        return self._session.exec(select(User).where(User.name == name)).one_or_none()

    def lock_person(self, name: str) -> User | None:
        """The row, held until the transaction ends."""
        return self._session.exec(select(User).where(User.name == name).with_for_update()).one_or_none()

    def find_person_by_id(self, tenant_id: str, person_id: str) -> User | None:
        return self._session.exec(
            select(User).where(User.tenant_id == tenant_id).where(User.id == person_id)
        ).one_or_none()

    def find_person_of_any_tenant(self, person_id: str) -> User | None:
        """For what concerns the asking person himself."""
        return self._session.exec(select(User).where(User.id == person_id)).one_or_none()

    def lock_person_by_id(self, tenant_id: str, person_id: str) -> User | None:
        """The row, held until the transaction ends."""
        statement = select(User).where(User.tenant_id == tenant_id).where(User.id == person_id)
        return self._session.exec(statement.with_for_update()).one_or_none()

    def list_people_for_update(self) -> Sequence[User]:
        """Of all tenants: the key of second factors is the installation's."""
        return self._session.exec(select(User).order_by(User.id).with_for_update()).all()

    def list_sessions(self, tenant_id: str, now: datetime, idle_since: datetime) -> Sequence[LoginSession]:
        """Living ones, newest use first."""
        statement = select(LoginSession).where(LoginSession.tenant_id == tenant_id)
        living = statement.where(col(LoginSession.expires_at) > now).where(col(LoginSession.last_used_at) > idle_since)
        return self._session.exec(living.order_by(col(LoginSession.last_used_at).desc())).all()

    def list_people(self, tenant_id: str) -> Sequence[User]:
        return self._session.exec(select(User).where(User.tenant_id == tenant_id).order_by(User.name)).all()

    def set_preferences(self, tenant_id: str, user_id: str, chosen: dict[str, str]) -> None:
        theirs = (col(User.id) == user_id, col(User.tenant_id) == tenant_id)
        self._session.exec(update(User).where(*theirs).values(chosen))

    def find_session(self, id_sha256: str) -> tuple[LoginSession, User] | None:
        statement = (
            select(LoginSession, User).where(LoginSession.id_sha256 == id_sha256).where(LoginSession.user_id == User.id)
        )
        return self._session.exec(statement).one_or_none()

    def lock_session(self, id_sha256: str) -> LoginSession | None:
        """The row, held until the transaction ends."""
        statement = select(LoginSession).where(LoginSession.id_sha256 == id_sha256).with_for_update()
        return self._session.exec(statement).one_or_none()

    def remove_session(self, id_sha256: str, *, of: str | None = None) -> None:
        """``of``: only when it is this person's."""
        statement = delete(LoginSession).where(col(LoginSession.id_sha256) == id_sha256)
        self._session.exec(statement if of is None else statement.where(col(LoginSession.user_id) == of))

    def remove_sessions_of(self, user_id: str, *, but: str | None = None) -> None:
        """``but``: the hashed id of one that goes on."""
        statement = delete(LoginSession).where(col(LoginSession.user_id) == user_id)
        self._session.exec(statement if but is None else statement.where(col(LoginSession.id_sha256) != but))

    def remove_sessions_dead_at(self, now: datetime, idle_since: datetime) -> int:
        dead = (col(LoginSession.expires_at) <= now) | (col(LoginSession.last_used_at) <= idle_since)
        return self._session.exec(delete(LoginSession).where(dead)).rowcount

    def lock_recovery_code(self, id_sha256: str, user_id: str) -> RecoveryCode | None:
        """The row, held until the transaction ends."""
        statement = select(RecoveryCode).where(RecoveryCode.id_sha256 == id_sha256)
        return self._session.exec(statement.where(RecoveryCode.user_id == user_id).with_for_update()).one_or_none()

    def count_recovery_codes(self, user_id: str) -> int:
        """That are still good."""
        statement = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.user_id == user_id)
        return self._session.exec(statement.where(col(RecoveryCode.used_at).is_(None))).one()

    def remove_recovery_codes_of(self, user_id: str) -> None:
        self._session.exec(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))

    def find_token(self, token_sha256: str) -> ApiToken | None:
        return self._session.exec(select(ApiToken).where(ApiToken.token_sha256 == token_sha256)).one_or_none()

    def find_token_named(self, tenant_id: str, name: str) -> ApiToken | None:
        statement = select(ApiToken).where(ApiToken.tenant_id == tenant_id).where(ApiToken.name == name)
        return self._session.exec(statement.where(col(ApiToken.revoked_at).is_(None))).first()

    def add(self, row: User | LoginSession | ApiToken | RecoveryCode) -> None:
        self._session.add(row)
