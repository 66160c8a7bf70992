"""Marks in browsers in which people have signed in: by them `fleet_server.auth.tries` tells a person from a stranger.

A mark is a random secret in a cookie, kept here as a hash for each person who signed in with it. It opens nothing and
stands for no proof; who steals it has ten tries of a password more.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine

from fleet_server.auth.models import KnownBrowser
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor
from fleet_server.auth.sessions import digest
from fleet_server.db import transaction

BROWSER_KEPT: Final = timedelta(days=90)
MAX_BROWSERS: Final = 20  # of one person; the one unused for longest goes first


def mark(engine: Engine, actor: Actor, brought: str, now: datetime) -> str:
    """The secret that the browser keeps from now on: the one that it brought, if it was handed out here. ``actor`` has
    just shown who it is.
    """
    with transaction(engine) as session:
        repository = AuthRepository(session)
        # Never one that somebody else thought of: who put it there would count as the person.
        is_ours = bool(brought) and repository.has_browser(digest(brought))
        secret = brought if is_ours else secrets.token_urlsafe(32)
        person = repository.lock_person_by_id(actor.tenant_id, actor.id)
        if person is None:
            return secret
        known = repository.lock_browser(digest(secret), person)
        if known is None:
            for old in repository.browsers_of(person)[MAX_BROWSERS - 1 :]:
                repository.remove_browser(old)
            row = KnownBrowser(id_sha256=digest(secret), user_id=person.id, tenant_id=person.tenant_id, used_at=now)
            repository.add(row)
        else:
            known.used_at = now
    return secret
