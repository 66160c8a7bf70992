"""What people and programs may do: each role may all that the ones before it may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """In ascending order."""

    VIEWER = "viewer"
    TECHNICIAN = "technician"
    SUPPORT = "support"
    APPROVER = "approver"
    OPERATOR = "operator"

    def reaches(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


class ActorKind(StrEnum):
    PERSON = "person"
    TOKEN = "token"  # noqa: S105  # a kind, not a secret


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, as found out at the door. ``name`` is what the audit and the timeline show."""

    id: str
    name: str
    role: Role
    tenant_id: str
    kind: ActorKind
