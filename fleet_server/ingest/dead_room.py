"""How much is kept of what could not be understood: of each link and of each tenant, so that no device fills the disk
with it, and no tenant takes the room of another. All tenants have the same share of `MAX_BYTES` and `MAX_LETTERS`.

A letter for which there is no room is counted and not kept. The scheduler takes the oldest away
(`fleet_server.ingest.retention`), to half of these bounds, so that what comes later finds room again. What other
workers keep meanwhile is seen when it is looked again: bounds may be passed by what arrives in that time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, func, select
from sqlmodel import Session

from fleet_server.ingest.models import DeadLetter
from fleet_server.tenants.repository import TenantRepository

# Thirty of the longest letters, or two thousand of the usual ones.
MAX_LINK_BYTES: Final = 8 * 1024 * 1024
MAX_LINK_LETTERS: Final = 2_000
MAX_BYTES: Final = 512 * 1024 * 1024
MAX_LETTERS: Final = 200_000
# Looked at again after this long; reading all of the table takes a fifth of a second when it is full.
LINK_EVERY_S: Final = 10.0
ALL_EVERY_S: Final = 60.0
MAX_LINKS: Final = 1_000

_DEAD: Table = DeadLetter.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_SIZES = (func.coalesce(func.sum(func.length(_DEAD.c.payload)), 0), func.count())


@dataclass(slots=True)
class _Held:
    size_bytes: int
    letters: int
    looked_s: float

    def has_room(self, more_bytes: int, max_bytes: int, max_letters: int) -> bool:
        return self.size_bytes + more_bytes <= max_bytes and self.letters < max_letters

    def add(self, more_bytes: int) -> None:
        self.size_bytes += more_bytes
        self.letters += 1


@dataclass(slots=True)
class _Tenants:
    """``count``: how many share the room, also those of which nothing is kept."""

    held: dict[str, _Held]
    count: int
    looked_s: float


class DeadRoom:
    def __init__(self) -> None:
        self._of_link: dict[str, _Held] = {}
        self._tenants: _Tenants | None = None

    def admit(
        self, session: Session, tenant_id: str, rows: Sequence[dict[str, Any]], now_s: float, counters: Counter[str]
    ) -> list[dict[str, Any]]:
        """Those of the tenant's ``rows`` that may be written; the others are counted as ``dead_not_kept``."""
        kept = []
        for row in rows:
            size = len(row["payload"])
            of_link, tenants = self._link(session, row["link_id"], now_s), self._shares(session, now_s)
            of_tenant = tenants.held.setdefault(tenant_id, _Held(0, 0, now_s))
            if of_link.has_room(size, MAX_LINK_BYTES, MAX_LINK_LETTERS) and of_tenant.has_room(
                size, MAX_BYTES // tenants.count, MAX_LETTERS // tenants.count
            ):
                of_link.add(size)
                of_tenant.add(size)
                kept.append(row)
            else:
                counters["dead_not_kept"] += 1
        return kept

    def _link(self, session: Session, link_id: str, now_s: float) -> _Held:
        held = self._of_link.get(link_id)
        if held is None or now_s - held.looked_s >= LINK_EVERY_S:
            size, letters = session.execute(select(*_SIZES).where(_DEAD.c.link_id == link_id)).one()
            if len(self._of_link) >= MAX_LINKS:
                self._of_link.pop(next(iter(self._of_link)))
            held = self._of_link[link_id] = _Held(size, letters, now_s)
        return held

    def _shares(self, session: Session, now_s: float) -> _Tenants:
        if self._tenants is None or now_s - self._tenants.looked_s >= ALL_EVERY_S:
            rows = session.execute(select(_DEAD.c.tenant_id, *_SIZES).group_by(_DEAD.c.tenant_id))
            held = {tenant_id: _Held(size, letters, now_s) for tenant_id, size, letters in rows}
            self._tenants = _Tenants(held, max(1, len(TenantRepository(session).ids())), now_s)
        return self._tenants
