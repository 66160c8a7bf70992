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
from sqlmodel import Session, col, select
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
from fleet_server.databases import Databases
from fleet_server.db import transaction
from fleet_server.devices.models import Capability, Device, Site
from fleet_server.devices.repository import DeviceRepository
from fleet_server.devices.service import DeviceService
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.executions.models import Execution
from fleet_server.faults.models import Fault
from fleet_server.ingest.models import DeadLetter
from fleet_server.inspections.models import InspectionTurn
from fleet_server.inspections.plans import EVERY_DAY, Group, Times
from fleet_server.inspections.service import InspectionService, Plan
from fleet_server.kit.times import utc_now
from fleet_server.live.hub import LiveHub, LiveUpdate, Watched
from fleet_server.mqtt import ServerLink
from fleet_server.playbooks.models import PlaybookRun
from fleet_server.tenants.repository import ensure_tenant
from fleet_server.timeline.hub import EventFilter, EventHub, EventRow
from fleet_server.timeline.writer import NewEvent, append_events
from protocol.capabilities import Action
from protocol.commands import ActionKind, DangerClass
from protocol.parameters import Words
from protocol.playbooks.reading import shipped
from tests.fleet_server.api import WrittenDown
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY
from tests.fleet_server.factories import ECHO, NOON, RESTART, Fleet, actor, add_fleet, assignment, settings
from tests.support.engines import PATIENT_S
from tests.support.health_rows import put_newest
from tests.support.signing import local_signer

OURS, THEIRS = "default", "other"
SECRET = "shibboleth"
TURN_DATE = "2026-03-02"
PLAYBOOK = "app_not_running"
ALIVE = Action("app.alive", ActionKind.CHECK, Words("应用", "Application"), DangerClass.READS, 0.1, 10.0)
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
    inspections: dict[str, str]  # of ours, by state
    walk: str  # of ours: a playbook that is over

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
            row.stepped_up_at, row.visits = now, None
            session.add(row)
            person = session.get(User, row.user_id)
            assert person is not None
            person.failed_count, person.locked_until = 0, None
        return {"Cookie": f"tillmedic={secret}"}, csrf

    def new_run(self, tenant: str, kind: str) -> str:
        with transaction(self.engine) as session:
            return add_run(session, tenant, self.ours if tenant == OURS else self.theirs, kind)

    def end_walks(self) -> None:
        with transaction(self.engine) as session:
            end_walks(session)

    def new_walk(self, tenant: str) -> str:
        """Open; what was open on the device is over."""
        with transaction(self.engine) as session:
            return add_walk(session, tenant, self.ours if tenant == OURS else self.theirs)


@contextmanager
def two_tenants(engine: Engine, folder: Path, hub: EventHub | None = None) -> Iterator[Two]:
    runs: dict[tuple[str, str], str] = {}
    with transaction(engine) as session:
        ours, theirs = add_fleet(session), add_fleet(session, "two", tenant=THEIRS)
        for tenant, fleet in ((OURS, ours), (THEIRS, theirs)):
            ensure_tenant(session, tenant, NOON)
            _declare_alive(session, fleet.terminal)
            _add_people(session, tenant)
            _add_tokens(session, tenant)
            for technician in (_person_id(tenant, Role.TECHNICIAN), f"t-{tenant}-{Role.TECHNICIAN.value}"):
                session.add(assignment(technician, site_id=fleet.site, tenant=tenant))
            _add_what_hangs_on(session, tenant, fleet, SECRET if tenant == OURS else "harmless")
            runs |= {(tenant, kind): add_run(session, tenant, fleet, kind) for kind in ("check", "fix")}
        walk = {tenant: add_walk(session, tenant, fleet) for tenant, fleet in ((OURS, ours), (THEIRS, theirs))}[OURS]
        end_walks(session)
    inspections = add_inspections(engine, ours)
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
        Databases(engine, silent_s=PATIENT_S),
    )
    app.dependency_overrides[passwords] = Passwords.cheap
    with TestClient(
        app, base_url="http://127.0.0.1:1", raise_server_exceptions=False, follow_redirects=False
    ) as client:
        yield Two(app, client, engine, ours, theirs, runs, inspections, walk)


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


def add_walk(session: Session, tenant: str, fleet: Fleet) -> str:
    end_walks(session)
    now = utc_now()
    row = PlaybookRun(
        id=f"walk-{tenant}-{now:%H%M%S%f}",
        tenant_id=tenant,
        device_id=fleet.terminal,
        playbook=PLAYBOOK,
        version=1,
        definition=msgspec.to_builtins(shipped()[PLAYBOOK]),
        given={},
        danger_class=1,
        started_by=SECRET if tenant == OURS else "harmless",
        starter_id="nobody",
        starter_kind="person",
        started_at=now,
    )
    session.add(row)
    session.flush()
    return row.id


def end_walks(session: Session) -> None:
    for row in session.exec(select(PlaybookRun).where(col(PlaybookRun.is_open).is_(True))):
        row.is_open, row.why, row.ended_at = False, "cancelled", utc_now()
    session.flush()


def _declare_alive(session: Session, device_id: str) -> None:
    """What the playbook begins with."""
    row = session.get_one(Capability, device_id)
    row.document = {**row.document, "actions": [*row.document["actions"], msgspec.to_builtins(ALIVE)]}
    session.flush()


def add_inspections(engine: Engine, fleet: Fleet) -> dict[str, str]:
    """One that is active, with a turn, and one that has ended: of ours, and named by the secret."""
    ids = {}
    with transaction(engine, OURS) as session:
        service = InspectionService(session, OURS, DeviceService(DeviceRepository(session, OURS)))
        boss = actor(Role.OPERATOR, tenant=OURS)
        for state in ("active", "ended"):
            plan = Plan(SECRET, ("agent.echo",), Times(EVERY_DAY, "02:00", 60), Group())
            ids[state] = service.make(boss, plan, NOON).id
        service.end(boss, ids["ended"], NOON)
        session.add(
            InspectionTurn(
                inspection_id=ids["active"],
                local_date=TURN_DATE,
                device_id=fleet.terminal,
                tenant_id=OURS,
                timezone="Asia/Shanghai",
                due_at=NOON,
                closes_at=NOON,
                state="done",
                outcome="pass",
                results={"agent.echo": {"outcome": "pass", "code": SECRET}},
            )
        )
    return ids


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
