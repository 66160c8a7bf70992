"""How far a caller's transaction sees: one tenant, and of it, for who works by assignments, only what is assigned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reach:
    """``assignee``: the id of a technician, whose assignments bound what is seen. None: all of the tenant."""

    tenant_id: str
    assignee: str | None = None
