"""The scheduler's part: every day each chain is gone over as a whole, piece by piece, and its head is signed and
written to a file; what is older than it is kept for is removed up to a signed stub.

A chain that does not hold is said at once, in the log and in the chain itself, counted for monitoring, and not signed.
Where the anchor key is kept on another machine, nothing is signed or removed here, only verified.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, Final

import structlog
from sqlalchemy import Engine, delete, func, select
from sqlmodel import Session

from fleet_server.audit.anchors import (
    PUBLIC,
    Kind,
    Signed,
    anchor_key,
    anchor_public_keys,
    check_from,
    ensure_anchor_key,
    opened_for,
)
from fleet_server.audit.checking import Check, Finding, diagnose
from fleet_server.audit.keeping import Outcome, Standing, anchor, rows_of, standing, stub, tenants
from fleet_server.audit.models import AuditAside, AuditEntry
from fleet_server.audit.repository import AuditRepository, tenants_with_audit
from fleet_server.audit.service import SYSTEM, record
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading, transaction
from fleet_server.ingest.installation import read_state, save_state
from fleet_server.kit.times import text
from fleet_server.settings import ServerSettings

# Entries a turn: some tens of milliseconds, for the scheduler has other things to do.
PIECE: Final = 2000
# Removed in one transaction.
_REMOVED: Final = 250
_STATE: Final = "audit"
_ENTRY = AuditEntry.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_ASIDE = AuditAside.__table__  # type: ignore[attr-defined]  # as above
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Round:
    """Going over one chain."""

    tenant_id: str
    known: Standing
    signed: tuple[Signed, ...]
    check: Check


@dataclass(slots=True)
class AuditWatch:
    """`step` is to be called again and again; it answers whether more is to be done at once."""

    engine: Engine
    settings: ServerSettings
    _day: date | None = None
    _waiting: list[str] = field(default_factory=list)
    _round: _Round | None = None

    def step(self, now: datetime) -> bool:
        if self._round is None and not self._waiting and not self._begin(now):
            return False
        if self._round is None:
            self._round = self._open(self._waiting.pop(0), now)
        elif self._piece(self._round, now):
            self._round = None
        return True

    def _begin(self, now: datetime) -> bool:
        """Whether a day has begun of which no round is known."""
        if self._day == now.date():
            return False
        ensure_anchor_key(self.settings.keys_dir)
        with reading(self.engine) as session:
            known = read_state(session, _STATE) or {}
        self._day = now.date()
        today = now.date().isoformat()
        self._waiting = [one for one in tenants(self.engine) if known.get(one, {}).get("day") != today]
        return bool(self._waiting)

    def _open(self, tenant_id: str, now: datetime) -> _Round | None:
        known = standing(self.engine, tenant_id)
        signed = opened_for(tenant_id, known.envelopes, self._keys())
        if isinstance(signed, Finding):
            self._told(tenant_id, Check(tenant_id), signed, now)
            return None
        return _Round(tenant_id, known, tuple(signed), check_from(tenant_id, signed))

    def _piece(self, going: _Round, now: datetime) -> bool:
        """Whether this was the last of its round."""
        check, source = going.check, rows_of(self.engine, going.tenant_id)
        taken = 0
        for row in islice(source(check.seq), PIECE):
            taken += 1
            found = check.against_anchor() if check.take(row) else diagnose(check, row, source)
            if found is not None:
                self._told(going.tenant_id, check, found, now)
                return True
        if taken == PIECE:
            return False
        finding = check.end(going.known.head)
        self._told(going.tenant_id, check, finding, now)
        if finding is None:
            self._sign(Outcome(going.tenant_id, check, None, going.signed), now)
        return True

    def _sign(self, outcome: Outcome, now: datetime) -> None:
        key = anchor_key(self.settings.keys_dir)
        if key is None:
            return
        kept = self.settings.audit_kept_days
        made: Signed | None = None
        if kept:
            made = stub(self.engine, outcome, now - timedelta(days=kept), key, self.settings.audit_dir, now)
        done = Outcome(outcome.tenant_id, outcome.check, None, (*outcome.anchors, *([made] if made else [])))
        anchor(self.engine, done, key, self.settings.audit_dir, now)

    def _told(self, tenant_id: str, check: Check, finding: Finding | None, now: datetime) -> None:
        damage = None
        if finding is not None:
            damage = {"kind": finding.damage.value, "seq": finding.seq, "detail": finding.detail}
            _log.error("the audit was changed", tenant=tenant_id, **damage)
        state = {"day": now.date().isoformat(), "at": text(now), "seq": check.seq, "damage": damage}
        with transaction(self.engine) as session:
            known: dict[str, Any] = read_state(session, _STATE) or {}
            if damage is not None and (known.get(tenant_id) or {}).get("damage") != damage:
                system = Actor("", SYSTEM, Role.OPERATOR, tenant_id, ActorKind.PERSON)
                record(session, system, "audit_found_changed", data=damage, now=now)
            save_state(session, _STATE, {**known, tenant_id: state})

    def _keys(self) -> Any:
        return anchor_public_keys(self.settings.keys_dir / PUBLIC)


def standings(session: Session) -> dict[str, dict[str, Any]]:
    """By tenant: when its chain was last gone over, how far, and what was found."""
    return read_state(session, _STATE) or {}


def forget_removed(session: Session, settings: ServerSettings) -> bool:
    """Removes a piece of what a stub was signed for; whether there was any. Only whole beginnings of chains go."""
    if not (settings.keys_dir / PUBLIC).exists():
        return False
    keys = anchor_public_keys(settings.keys_dir / PUBLIC)
    return any(_remove(session, tenant_id, seq) for tenant_id, seq in _stubs(session, keys))


def _stubs(session: Session, keys: Any) -> Iterator[tuple[str, int]]:
    for tenant_id in tenants_with_audit(session):
        rows = [one.envelope for one in AuditRepository(session, tenant_id).anchors() if one.kind == Kind.STUB.value]
        signed = opened_for(tenant_id, rows, keys, all_there=False)
        if not isinstance(signed, Finding) and signed:
            yield tenant_id, signed[-1].statement.seq


def _remove(session: Session, tenant_id: str, upto: int) -> int:
    if session.connection().dialect.name == "postgresql":
        # A role that may only insert has no other way to remove.
        return int(session.execute(select(func.audit_forget(tenant_id, upto, _REMOVED))).scalar_one())
    oldest = (
        select(_ENTRY.c.seq)
        .where(_ENTRY.c.tenant_id == tenant_id, _ENTRY.c.seq <= upto)
        .order_by(_ENTRY.c.seq)
        .limit(_REMOVED)
    )
    seqs = session.execute(oldest).scalars().all()
    if seqs:
        for table in (_ASIDE, _ENTRY):
            session.connection().execute(delete(table).where(table.c.tenant_id == tenant_id, table.c.seq <= seqs[-1]))
    return len(seqs)
