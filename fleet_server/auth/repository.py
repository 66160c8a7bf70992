"""Questions to the tables of people, sessions and tokens. People's names are unique over all tenants."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, update
from sqlmodel import Session, col, select

from fleet_server.auth.models import ApiToken, KnownBrowser, LoginSession, OidcLink, OidcQuestion, RecoveryCode, User
from fleet_server.tenants.repository import suspended

_PIECE = 500


class AuthRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def find_person(self, name: str) -> User | None:
        return self._session.exec(select(User).where(User.name == name)).one_or_none()

    def lock_person(self, name: str) -> User | None:
        """The row, held until the transaction ends."""
        return self._session.exec(select(User).where(User.name == name).with_for_update()).one_or_none()

    def find_person_named(self, tenant_id: str, name: str) -> User | None:
        return self._session.exec(
            select(User).where(User.tenant_id == tenant_id).where(User.name == name)
        ).one_or_none()

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

    def change_person(self, person: User, values: Mapping[str, object]) -> None:
        """By a statement that names the tenant, which the unit of work leaves out."""
        of_person = and_(col(User.id) == person.id, col(User.tenant_id) == person.tenant_id)
        self._session.exec(update(User).where(of_person).values(**values))

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
        return self._session.exec(statement.where(~suspended(User.tenant_id))).one_or_none()

    def living_tokens(self, ids: Collection[str], now: datetime) -> set[str]:
        """Those of ``ids`` that are let in; of all tenants."""
        living = and_(
            col(ApiToken.revoked_at).is_(None),
            or_(col(ApiToken.expires_at).is_(None), col(ApiToken.expires_at) > now),
            _is_open_to_token(),
        )
        return self._among(select(ApiToken.id).where(living), ApiToken.id, ids)

    def living_sessions(self, ids: Collection[str], now: datetime, idle_since: datetime) -> set[str]:
        """As above, by their hashed ids."""
        living = and_(
            col(LoginSession.user_id) == col(User.id),
            col(LoginSession.expires_at) > now,
            col(LoginSession.last_used_at) > idle_since,
            col(User.disabled_at).is_(None),
            ~suspended(User.tenant_id),
        )
        return self._among(select(LoginSession.id_sha256).where(living), LoginSession.id_sha256, ids)

    def _among(self, living: Any, column: Any, ids: Collection[str]) -> set[str]:
        """In pieces: SQLite counts parameters."""
        wanted, found = sorted(ids), set[str]()
        for first in range(0, len(wanted), _PIECE):
            found |= set(self._session.exec(living.where(col(column).in_(wanted[first : first + _PIECE]))))
        return found

    def lock_session(self, id_sha256: str) -> LoginSession | None:
        """The row, held until the transaction ends."""
        statement = select(LoginSession).where(LoginSession.id_sha256 == id_sha256).with_for_update()
        return self._session.exec(statement).one_or_none()

    def remove_session(self, id_sha256: str, *, of: User | None = None) -> None:
        """``of``: only when it is this person's."""
        statement = delete(LoginSession).where(col(LoginSession.id_sha256) == id_sha256)
        self._session.exec(statement if of is None else statement.where(_belongs(LoginSession, of)))

    def remove_sessions_of(self, person: User, *, but: str | None = None) -> None:
        """``but``: the hashed id of one that goes on."""
        statement = delete(LoginSession).where(_belongs(LoginSession, person))
        self._session.exec(statement if but is None else statement.where(col(LoginSession.id_sha256) != but))

    def remove_sessions_in(self, tenant_id: str) -> None:
        self._session.exec(delete(LoginSession).where(col(LoginSession.tenant_id) == tenant_id))

    def remove_sessions_dead_at(self, now: datetime, idle_since: datetime) -> int:
        dead = (col(LoginSession.expires_at) <= now) | (col(LoginSession.last_used_at) <= idle_since)
        return self._session.exec(delete(LoginSession).where(dead)).rowcount

    def lock_browser(self, id_sha256: str, person: User) -> KnownBrowser | None:
        """The row, held until the transaction ends."""
        mine = select(KnownBrowser).where(KnownBrowser.id_sha256 == id_sha256, _belongs(KnownBrowser, person))
        return self._session.exec(mine.with_for_update()).one_or_none()

    def has_browser(self, id_sha256: str) -> bool:
        """Whether anybody signed in with it."""
        return (
            self._session.exec(select(KnownBrowser.user_id).where(KnownBrowser.id_sha256 == id_sha256)).first()
            is not None
        )

    def forget_tries_of_browsers(self, person: User) -> None:
        values = {"failed_count": 0, "locked_until": None}
        self._session.execute(update(KnownBrowser).where(_belongs(KnownBrowser, person)).values(**values))

    def browsers_of(self, person: User) -> Sequence[KnownBrowser]:
        """Used last first."""
        mine = select(KnownBrowser).where(_belongs(KnownBrowser, person))
        return self._session.exec(mine.order_by(col(KnownBrowser.used_at).desc())).all()

    def remove_browser(self, row: KnownBrowser) -> None:
        self._session.delete(row)

    def remove_browsers_unused_since(self, moment: datetime) -> None:
        self._session.exec(delete(KnownBrowser).where(col(KnownBrowser.used_at) < moment))

    def lock_recovery_code(self, id_sha256: str, user_id: str) -> RecoveryCode | None:
        """The row, held until the transaction ends."""
        statement = select(RecoveryCode).where(RecoveryCode.id_sha256 == id_sha256)
        return self._session.exec(statement.where(RecoveryCode.user_id == user_id).with_for_update()).one_or_none()

    def count_recovery_codes(self, user_id: str) -> int:
        """That are still good."""
        statement = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.user_id == user_id)
        return self._session.exec(statement.where(col(RecoveryCode.used_at).is_(None))).one()

    def remove_recovery_codes_of(self, person: User) -> None:
        self._session.exec(delete(RecoveryCode).where(_belongs(RecoveryCode, person)))

    def find_linked(self, issuer: str, subject: str) -> User | None:
        statement = select(User).join(OidcLink, col(OidcLink.user_id) == User.id)
        return self._session.exec(
            statement.where(OidcLink.issuer == issuer).where(OidcLink.subject == subject)
        ).one_or_none()

    def remove_links_of(self, person: User) -> int:
        return self._session.exec(delete(OidcLink).where(_belongs(OidcLink, person))).rowcount

    def take_question(self, id_sha256: str) -> OidcQuestion | None:
        """Gone from then on: of two who bring the same one, one has it."""
        statement = select(OidcQuestion).where(OidcQuestion.id_sha256 == id_sha256).with_for_update()
        found = self._session.exec(statement).one_or_none()
        if found is not None:
            self._session.delete(found)
        return found

    def remove_questions_dead_at(self, now: datetime) -> None:
        self._session.exec(delete(OidcQuestion).where(col(OidcQuestion.expires_at) <= now))

    def find_token(self, token_sha256: str) -> ApiToken | None:
        statement = select(ApiToken).where(ApiToken.token_sha256 == token_sha256)
        return self._session.exec(statement.where(_is_open_to_token())).one_or_none()

    def find_token_by_id(self, tenant_id: str, token_id: str) -> ApiToken | None:
        statement = select(ApiToken).where(ApiToken.tenant_id == tenant_id).where(ApiToken.id == token_id)
        return self._session.exec(statement).one_or_none()

    def find_token_named(self, tenant_id: str, name: str) -> ApiToken | None:
        statement = select(ApiToken).where(ApiToken.tenant_id == tenant_id).where(ApiToken.name == name)
        return self._session.exec(statement.where(col(ApiToken.revoked_at).is_(None))).first()

    def add(self, row: User | LoginSession | ApiToken | RecoveryCode | OidcLink | OidcQuestion | KnownBrowser) -> None:
        self._session.add(row)


def _belongs(table: type[LoginSession | RecoveryCode | OidcLink | KnownBrowser], person: User) -> ColumnElement[bool]:
    """A row of this person, by the tenant too: what is done for a caller keeps to it."""
    return and_(col(table.user_id) == person.id, col(table.tenant_id) == person.tenant_id)


def _is_open_to_token() -> ColumnElement[bool]:
    """A suspended tenant is shut for its own, not for who looks into it."""
    return or_(~suspended(ApiToken.tenant_id), col(ApiToken.is_visit))
