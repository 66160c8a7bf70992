"""Two tenants in one database, each with devices and everything that hangs on them, and somebody of each role in both.

Whatever belongs to the first carries `SECRET`: it may stand in no answer to anybody of the second.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from pathlib import Path
from typing import cast

import msgspec
from fastapi import FastAPI
from sqlalchemy import Engine
from sqlmodel import Session
from starlette.testclient import TestClient

from fleet_server.app import create_app
from fleet_server.audit.service import record
from fleet_server.auth.accounts import token_digest
from fleet_server.auth.dependencies import passwords
from fleet_server.auth.limits import SignInLimits
from fleet_server.auth.models import ApiToken, LoginSession, User
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.roles import Role
from fleet_server.auth.secret_box import new_key_line
from fleet_server.db import transaction
from fleet_server.devices.models import Device, Site
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.executions.models import Execution
from fleet_server.faults.models import Fault
from fleet_server.ingest.models import DeadLetter
from fleet_server.kit.times import utc_now
from fleet_server.live.hub import LiveHub, LiveUpdate, Watched
from fleet_server.mqtt import ServerLink
from fleet_server.timeline.hub import EventFilter, EventHub, EventRow
from fleet_server.timeline.writer import NewEvent, append_events
from tests.fleet_server.api import WrittenDown
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY
from tests.fleet_server.factories import ECHO, NOON, RESTART, Fleet, actor, add_fleet, settings
from tests.support.health_rows import put_newest
from tests.support.signing import local_signer

OURS, THEIRS = "default", "other"
SECRET = "shibboleth"
LETTERS = {
    "V": Role.VIEWER,
    "T": Role.TECHNICIAN,
    "S": Role.SUPPORT,
    "P": Role.APPROVER,
    "M": Role.TENANT_ADMIN,
    "A": Role.AUDITOR,
    "O": Role.OPERATOR,
}


class EndedHub(EventHub):
    """Its streams hold what was missed, and end: who may open them is the question here."""

    async def subscribe(self, where: EventFilter, after_id: int | None = None) -> AsyncIterator[EventRow]:
        for row in self._read(after_id or 0, where):
            yield row


class EndedLiveHub(LiveHub):
    async def subscribe(self, watched: Watched, asks_until_s: float = inf) -> AsyncIterator[LiveUpdate]:
        updates: tuple[LiveUpdate, ...] = ()
        for update in updates:
            yield update


@dataclass
class Two:
    """``ours`` and ``theirs``: the devices of the two; ``runs``: a queued execution of each, by tenant and kind."""

    app: FastAPI
    client: TestClient
    engine: Engine
    ours: Fleet
    theirs: Fleet
    runs: dict[tuple[str, str], str]

    def session_of(self, tenant: str, role: Role) -> tuple[dict[str, str], str]:
        """Cookie and token of a new session that has just shown again who it is."""
        self.app.state.sign_in_limits = SignInLimits()
        secret, csrf, now = f"session-{tenant}-{role}", f"csrf-{tenant}-{role}", utc_now()
        digest = hashlib.sha256(secret.encode()).hexdigest()
        with transaction(self.engine) as session:
            row = session.get(LoginSession, digest) or LoginSession(
                id_sha256=digest,
                tenant_id=tenant,
                user_id=_person_id(tenant, role),
                csrf=csrf,
                created_at=now,
                last_used_at=now,
                expires_at=now + timedelta(hours=1),
            )
            row.stepped_up_at = now
            session.add(row)
            person = session.get(User, row.user_id)
            assert person is not None
            person.failed_count, person.locked_until = 0, None
        return {"Cookie": f"tillmedic={secret}"}, csrf

    def new_run(self, tenant: str, kind: str) -> str:
        with transaction(self.engine) as session:
            return add_run(session, tenant, self.ours if tenant == OURS else self.theirs, kind)


@contextmanager
def two_tenants(engine: Engine, folder: Path, hub: EventHub | None = None) -> Iterator[Two]:
    runs: dict[tuple[str, str], str] = {}
    with transaction(engine) as session:
        ours, theirs = add_fleet(session), add_fleet(session, "two", tenant=THEIRS)
        for tenant, fleet in ((OURS, ours), (THEIRS, theirs)):
            _add_people(session, tenant)
            _add_tokens(session, tenant)
            _add_what_hangs_on(session, tenant, fleet, SECRET if tenant == OURS else "harmless")
            runs |= {(tenant, kind): add_run(session, tenant, fleet, kind) for kind in ("check", "fix")}
    here = settings(folder)
    make_private_dir(here.people_key.parent)
    write_private(here.people_key, new_key_line())
    app = create_app(
        here,
        engine,
        cast("ServerLink", WrittenDown()),
        hub or EndedHub(engine),
        local_signer(COMMAND_KEY, APPROVER_KEY),
        EndedLiveHub(),
    )
    app.dependency_overrides[passwords] = Passwords.cheap
    with TestClient(
        app, base_url="http://127.0.0.1:1", raise_server_exceptions=False, follow_redirects=False
    ) as client:
        yield Two(app, client, engine, ours, theirs, runs)


def bearer(tenant: str, name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {_token(tenant, name)}"}


def add_token(session: Session, tenant: str, name: str, role: Role, scopes: Iterable[str] | None = None) -> None:
    session.add(
        ApiToken(
            id=f"t-{tenant}-{name}"[:36],
            tenant_id=tenant,
            # Not the name of a role: so are people called who decide about what others ask for.
            name=f"program {name}",
            token_sha256=token_digest(_token(tenant, name)),
            role=role.value,
            scopes=None if scopes is None else sorted(scopes),
            created_at=NOON,
        )
    )


def add_run(session: Session, tenant: str, fleet: Fleet, kind: str) -> str:
    """Waiting in the queue."""
    action, now = ECHO if kind == "check" else RESTART, utc_now()
    run_id = f"run-{tenant}-{kind}-{now:%H%M%S%f}"
    session.add(
        Execution(
            id=run_id,
            tenant_id=tenant,
            device_id=fleet.terminal,
            link_id=fleet.gateway,
            action=action.name,
            kind=action.kind.value,
            danger_class=int(action.danger_class),
            params={},
            declared=msgspec.to_builtins(action),
            actor=SECRET if tenant == OURS else "harmless",
            state="QUEUED",
            created_at=now,
            queued_until=now + timedelta(hours=1),
            deadline_at=now + timedelta(hours=1),
        )
    )
    session.flush()
    return run_id


def _token(tenant: str, name: str) -> str:
    return f"tm_{tenant}_{name}"


def _person_id(tenant: str, role: Role) -> str:
    return f"p-{tenant}-{role}"


def _add_people(session: Session, tenant: str) -> None:
    for role in Role:
        session.add(
            User(
                id=_person_id(tenant, role),
                tenant_id=tenant,
                name=f"{role}.{tenant}",
                password_hash="",
                role=role.value,
                created_at=NOON,
            )
        )
    session.flush()


def _add_tokens(session: Session, tenant: str) -> None:
    for role in Role:
        add_token(session, tenant, role.value, role)


def _add_what_hangs_on(session: Session, tenant: str, fleet: Fleet, word: str) -> None:
    now: datetime = utc_now()
    for device_id in (fleet.gateway, fleet.terminal):
        session.get_one(Device, device_id).label_zh = session.get_one(Device, device_id).label_en = word
    session.get_one(Site, fleet.site).name_zh = session.get_one(Site, fleet.site).name_en = word
    session.add(
        Fault(
            id=f"f-{tenant}",
            tenant_id=tenant,
            device_id=fleet.terminal,
            code="zvt.PAPER_OUT",
            severity="error",
            raised_ms=int(now.timestamp() * 1000),
            raised_at=now,
            last_seen_at=now,
            is_open=True,
            evidence=word,
        )
    )
    session.add(
        DeadLetter(
            tenant_id=tenant,
            link_id=fleet.gateway,
            topic_kind="urgent",
            reason="not_decodable",
            detail=word,
            payload=word.encode(),
            received_at=now,
        )
    )
    put_newest(session, tenant, fleet.terminal, {"batt.level_pct": 11.5 if tenant == OURS else 88.5}, now)
    record(session, actor(Role.SUPPORT, tenant=tenant, name=word), "fleet_imported", word, {"note": word}, now=now)
    session.flush()
    append_events(session, tenant, [NewEvent(fleet.terminal, "security", now, {"code": word}, actor=word)], now)
