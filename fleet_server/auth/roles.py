"""Who may do what: one table from roles to permissions, for the API, the console, the command line and the tests.

A role is no ladder: an auditor reads more than a support agent and triggers nothing, the operator of the installation
looks into a tenant without being one of its people. A program's token has a role as its ceiling and, when it was given
scopes, only those of them that its role has. Whatever is not in the table is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fleet_server.kit.reach import Reach


class Permission(StrEnum):
    """What can be allowed. The values are the scopes of tokens."""

    DEVICES_READ = "devices.read"
    HEALTH_READ = "health.read"
    HEALTH_EXPORT = "health.export"
    FAULTS_READ = "faults.read"
    EVENTS_READ = "events.read"
    LIVE_WATCH = "live.watch"  # makes the terminal report more often
    EXECUTIONS_READ = "executions.read"
    REQUEST_CHECK = "executions.request_check"
    REQUEST_TEST = "executions.request_test"
    REQUEST_FIX = "executions.request_fix"
    INSPECTIONS_READ = "inspections.read"  # of groups of devices; those of one device come with its executions
    INSPECTIONS_MANAGE = "inspections.manage"  # what devices are asked for by themselves
    FREEZES_MANAGE = "freezes.manage"  # spans in which nothing starts that is planned for many devices
    APPROVALS_READ = "approvals.read"
    APPROVALS_DECIDE = "approvals.decide"
    SIGNING_STOP = "signing.stop"  # the emergency stop
    ASSIGNMENTS_MANAGE = "assignments.manage"
    DEVICES_MANAGE = "devices.manage"  # enrol, approve pending ones, move, retire
    DEVICES_REVOKE = "devices.revoke"  # stolen, swapped: its identity ends at once
    PEOPLE_READ = "people.read"
    PEOPLE_MANAGE = "people.manage"
    TOKENS_MANAGE = "tokens.manage"
    SITES_MANAGE = "sites.manage"  # merchants, whom to call there, where it is
    PERSONAL_READ = "personal.read"  # names, numbers and places of merchants and staff, unmasked
    PERSONAL_OPEN = "personal.open"  # those of one site, one at a time, and written down
    PERSONAL_ERASE = "personal.erase"
    AUDIT_READ = "audit.read"
    AUDIT_EXPORT = "audit.export"
    DEAD_LETTERS_READ = "dead_letters.read"
    KEYS_MANAGE = "keys.manage"
    TENANTS_MANAGE = "tenants.manage"
    DEMO_BREAK = "demo.break"


class Role(StrEnum):
    VIEWER = "viewer"
    TECHNICIAN = "technician"
    SUPPORT = "support"
    APPROVER = "approver"
    TENANT_ADMIN = "tenant_admin"
    AUDITOR = "auditor"
    OPERATOR = "operator"  # of the installation

    @property
    def permissions(self) -> frozenset[Permission]:
        return PERMISSIONS[self]

    @property
    def works_by_assignments(self) -> bool:
        """Sees of the tenant's devices only what is assigned to whoever has this role, while it is."""
        return self is Role.TECHNICIAN


_P = Permission
_LOOK = frozenset({_P.DEVICES_READ, _P.HEALTH_READ, _P.FAULTS_READ, _P.EVENTS_READ, _P.EXECUTIONS_READ})
_LOOK_AT_ALL = _LOOK | {_P.INSPECTIONS_READ}
_VIEWER = _LOOK_AT_ALL | {_P.HEALTH_EXPORT, _P.LIVE_WATCH}
_SUPPORT = _VIEWER | {
    _P.REQUEST_CHECK,
    _P.REQUEST_TEST,
    _P.REQUEST_FIX,
    _P.APPROVALS_READ,
    _P.ASSIGNMENTS_MANAGE,
    _P.SITES_MANAGE,
    _P.PERSONAL_READ,
    _P.PERSONAL_OPEN,
    _P.AUDIT_READ,
    _P.DEMO_BREAK,
}
_MANAGE = frozenset(
    {
        _P.ASSIGNMENTS_MANAGE,
        _P.INSPECTIONS_MANAGE,
        _P.FREEZES_MANAGE,
        _P.DEVICES_MANAGE,
        _P.DEVICES_REVOKE,
        _P.PEOPLE_READ,
        _P.PEOPLE_MANAGE,
        _P.TOKENS_MANAGE,
        _P.SITES_MANAGE,
        _P.PERSONAL_READ,
        _P.PERSONAL_OPEN,
        _P.PERSONAL_ERASE,
        _P.AUDIT_READ,
        _P.AUDIT_EXPORT,
    }
)

PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.TECHNICIAN: _LOOK | {_P.LIVE_WATCH, _P.REQUEST_CHECK, _P.PERSONAL_OPEN},
    Role.SUPPORT: _SUPPORT,
    Role.APPROVER: _SUPPORT | {_P.APPROVALS_DECIDE, _P.DEVICES_REVOKE, _P.INSPECTIONS_MANAGE, _P.FREEZES_MANAGE},
    Role.TENANT_ADMIN: _VIEWER | _MANAGE | {_P.APPROVALS_READ},
    Role.AUDITOR: _LOOK_AT_ALL | {_P.APPROVALS_READ, _P.PEOPLE_READ, _P.AUDIT_READ, _P.AUDIT_EXPORT},
    Role.OPERATOR: _SUPPORT | _MANAGE | {_P.DEAD_LETTERS_READ, _P.SIGNING_STOP, _P.KEYS_MANAGE, _P.TENANTS_MANAGE},
}
# What is left of the operator's in a tenant that he chose to look at: he runs nothing on terminals that are not his.
VISITING: frozenset[Permission] = _LOOK_AT_ALL | {
    _P.DEAD_LETTERS_READ,
    _P.SIGNING_STOP,
    _P.DEVICES_REVOKE,
    _P.PEOPLE_READ,
    _P.PEOPLE_MANAGE,
    _P.AUDIT_READ,
    _P.TENANTS_MANAGE,
}


class ActorKind(StrEnum):
    PERSON = "person"
    TOKEN = "token"  # noqa: S105  # a kind, not a secret


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, as found out at the door. ``name`` is what the audit and the timeline show. ``tenant_id``: whose rows
    are asked for. ``scopes``: what a token was narrowed to. ``is_visiting``: an operator, in a tenant that is not his.
    """

    id: str
    name: str
    role: Role
    tenant_id: str
    kind: ActorKind
    scopes: frozenset[Permission] | None = None
    is_visiting: bool = False

    @property
    def permissions(self) -> frozenset[Permission]:
        allowed = VISITING & PERMISSIONS[self.role] if self.is_visiting else PERMISSIONS[self.role]
        return allowed if self.scopes is None else allowed & self.scopes

    @property
    def reach(self) -> Reach:
        return Reach(self.tenant_id, self.id if self.role.works_by_assignments else None)

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    def may_give(self, role: Role) -> bool:
        """Nobody makes somebody who may more than the giver in his place. An operator is made by an operator only."""
        if role is Role.OPERATOR:
            return self.may(Permission.TENANTS_MANAGE) and not self.is_visiting
        return self.may(Permission.PEOPLE_MANAGE)
