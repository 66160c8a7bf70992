"""What each role may, as sentences; the whole of it, route by route, stands in the matrix of routes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet_server.auth.roles import PERMISSIONS, VISITING, ActorKind, Permission, Role
from tests.fleet_server.factories import actor

TRIGGERS = {
    Permission.REQUEST_CHECK,
    Permission.REQUEST_TEST,
    Permission.REQUEST_FIX,
    Permission.APPROVALS_DECIDE,
    Permission.LIVE_WATCH,
    Permission.DEMO_BREAK,
}
MANAGES = {permission for permission in Permission if permission.value.endswith(("manage", "revoke", "erase"))}


def test_every_role_has_its_row_and_every_permission_somebody() -> None:
    assert PERMISSIONS.keys() == set(Role)
    assert frozenset[Permission]().union(*PERMISSIONS.values()) == set(Permission)


def test_an_auditor_reads_the_audit_and_triggers_nothing() -> None:
    auditor = Role.AUDITOR.permissions
    assert {Permission.AUDIT_READ, Permission.AUDIT_EXPORT} <= auditor
    assert not auditor & (TRIGGERS | MANAGES)


def test_a_viewer_triggers_no_action_and_manages_nothing() -> None:
    assert not Role.VIEWER.permissions & (TRIGGERS - {Permission.LIVE_WATCH} | MANAGES)


def test_a_technician_sees_neither_the_audit_nor_exports_of_the_whole_fleet() -> None:
    assert not Role.TECHNICIAN.permissions & {Permission.AUDIT_READ, Permission.HEALTH_EXPORT}


def test_whoever_manages_people_decides_no_approval() -> None:
    deciders = {role for role in Role if Permission.APPROVALS_DECIDE in role.permissions}
    assert deciders == {Role.APPROVER}
    assert Permission.PEOPLE_MANAGE not in Role.APPROVER.permissions


def test_only_the_operator_manages_tenants_and_keys() -> None:
    for permission in (Permission.TENANTS_MANAGE, Permission.KEYS_MANAGE, Permission.DEAD_LETTERS_READ):
        assert [role for role in Role if permission in role.permissions] == [Role.OPERATOR]


def test_a_visiting_operator_runs_nothing_on_terminals() -> None:
    visitor = replace(actor(Role.OPERATOR), is_visiting=True)
    assert not visitor.permissions & TRIGGERS
    assert visitor.permissions == VISITING


def test_visiting_gives_nobody_more() -> None:
    for role in Role:
        assert replace(actor(role), is_visiting=True).permissions <= actor(role).permissions


def test_scopes_narrow_and_never_widen() -> None:
    scopes = frozenset({Permission.DEVICES_READ, Permission.REQUEST_FIX})
    token = replace(actor(Role.VIEWER), kind=ActorKind.TOKEN, scopes=scopes)
    assert token.permissions == {Permission.DEVICES_READ}
    assert not replace(token, scopes=frozenset()).permissions


@pytest.mark.parametrize("giver", list(Role))
def test_an_operator_is_made_by_an_operator_only(giver: Role) -> None:
    assert actor(giver).may_give(Role.OPERATOR) is (giver is Role.OPERATOR)
    assert not replace(actor(giver), is_visiting=True).may_give(Role.OPERATOR)
    assert actor(giver).may_give(Role.APPROVER) is (giver in {Role.OPERATOR, Role.TENANT_ADMIN})
