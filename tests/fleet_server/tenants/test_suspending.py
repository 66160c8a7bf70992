"""A suspended tenant is shut for people and programs, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.audit.models import AuditEntry
from fleet_server.auth.limits import SignInLimits
from fleet_server.auth.models import LoginSession, User
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.roles import Role
from fleet_server.auth.second_factor import SecondFactors
from fleet_server.auth.service import AuthService, Doorkeeping
from fleet_server.auth.sessions import Uses
from fleet_server.auth.token_cache import TokenCache
from fleet_server.db import reading, transaction
from fleet_server.kit.times import utc_now
from fleet_server.tenants.errors import OwnTenant
from fleet_server.tenants.service import TenantService
from tests.fleet_server.factories import actor
from tests.fleet_server.two_tenants import OURS, THEIRS, Two, bearer, two_tenants

PASSWORD = "violet-harbour-anvil-92"


@pytest.fixture(name="two")
def _two(engine: Engine, tmp_path: Path) -> Iterator[Two]:
    with two_tenants(engine, tmp_path) as two:
        yield two


def suspend(two: Two, tenant: str = THEIRS) -> None:
    with transaction(two.engine) as session:
        TenantService(session, actor(Role.OPERATOR, tenant=OURS), utc_now()).suspend(tenant, "the bill")
    two.app.state.token_cache = TokenCache()  # else a token is seen for five seconds more


def resume(two: Two) -> None:
    with transaction(two.engine) as session:
        TenantService(session, actor(Role.OPERATOR, tenant=OURS), utc_now()).resume(THEIRS)


def sign_in(two: Two, name: str) -> bool:
    door = Doorkeeping(
        two.engine,
        OURS,
        Passwords.cheap(),
        SecondFactors(two.app.state.settings.people_key, is_required=False),
        Uses(),
        SignInLimits(),
    )
    made = AuthService(door).sign_in(name, PASSWORD, address="192.0.2.1", user_agent="", now=utc_now())
    return made is not None


def test_sessions_tokens_and_sign_ins_of_a_suspended_tenant_are_refused_and_come_back(two: Two) -> None:
    with transaction(two.engine) as session:
        for person in session.exec(select(User)):
            person.password_hash = Passwords.cheap().hash(PASSWORD)
    cookie, _ = two.session_of(THEIRS, Role.SUPPORT)
    ours, _ = two.session_of(OURS, Role.SUPPORT)

    def answers() -> list[int]:
        return [
            two.client.get("/", headers=cookie).status_code,
            two.client.get("/api/v1/devices", headers=bearer(THEIRS, "support")).status_code,
            two.client.get("/", headers=ours).status_code,
            two.client.get("/api/v1/devices", headers=bearer(OURS, "support")).status_code,
        ]

    assert answers() == [200, 200, 200, 200]
    suspend(two)
    assert answers() == [303, 401, 200, 200]
    assert (sign_in(two, f"support.{THEIRS}"), sign_in(two, f"support.{OURS}")) == (False, True)
    with reading(two.engine) as session:
        assert {row.tenant_id for row in session.exec(select(LoginSession))} == {OURS}
    resume(two)
    # Whoever was signed in signs in again.
    assert answers() == [303, 200, 200, 200]
    assert sign_in(two, f"support.{THEIRS}")


def test_nothing_is_sent_to_terminals_of_a_suspended_tenant_and_it_waits(two: Two) -> None:
    now, dispatcher = utc_now(), two.app.state.dispatcher
    suspend(two)
    with transaction(two.engine) as session:
        sent = {
            tenant: len(dispatcher.take_for_link(session, tenant, fleet.gateway, now))
            for tenant, fleet in ((OURS, two.ours), (THEIRS, two.theirs))
        }
    assert (sent[THEIRS], sent[OURS] > 0) == (0, True)
    with transaction(two.engine) as session:
        taken = dispatcher.take_overdue(session, THEIRS, now + timedelta(minutes=70))
    assert (taken.outgoing, {one.data["state"] for one in taken.events}) == ([], {"EXPIRED"})
    two.new_run(THEIRS, "check")
    resume(two)
    with transaction(two.engine) as session:
        assert dispatcher.take_for_link(session, THEIRS, two.theirs.gateway, now) != []


def test_the_installations_own_tenant_cannot_be_suspended(two: Two) -> None:
    with pytest.raises(OwnTenant):
        suspend(two, OURS)


def test_it_stands_in_the_audit_of_both(two: Two) -> None:
    suspend(two)
    resume(two)
    with reading(two.engine) as session:
        deeds = {(row.tenant_id, row.action) for row in session.exec(select(AuditEntry)) if "tenant" in row.action}
    assert deeds == {(who, deed) for who in (OURS, THEIRS) for deed in ("tenant_suspended", "tenant_resumed")}
