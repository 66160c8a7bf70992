"""What happens because time passes: executions fall due, devices fall silent, gaps last, what is old ends and goes.

Of all scheduler processes one works (`fleet_server.kit.leadership`); the others wait to take over. Each chore is one
transaction, and what it has to publish leaves after its commit. What concerns one tenant is done for each in turn, a
piece at a time (`fleet_server.tenant_chores`), so that nobody waits for another one's heap. A chore that fails, or
fails for one tenant, is tried again at its next turn and keeps none of the others from theirs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server import memory
from fleet_server.audit.watch import AuditWatch, forget_removed
from fleet_server.auth.service import sweep_sessions
from fleet_server.db import reading, transaction
from fleet_server.devices.service import CapabilityCache
from fleet_server.executions.desk import ExecutionDesk
from fleet_server.executions.dispatch import Dispatcher, Outgoing
from fleet_server.executions.outbound import Courier, Outbound
from fleet_server.health import upkeep
from fleet_server.ingest.installation import listening_s
from fleet_server.inspections.keeping import InspectionKeeper
from fleet_server.inspections.repository import InspectionRepository
from fleet_server.kit.conflicts import Conflicts
from fleet_server.kit.leadership import Leadership
from fleet_server.kit.times import utc_now
from fleet_server.personal.erasing import Eraser
from fleet_server.personal.ledger import Ledger
from fleet_server.personal.retention import forget_notes
from fleet_server.playbooks.keeping import PlaybookKeeper
from fleet_server.settings import ServerSettings
from fleet_server.signer.auditing import NONE_TO_COPY, copied_until, write_journal
from fleet_server.signer.errors import PolicyRefused, SignerUnreachable
from fleet_server.signer.messages import MAX_JOURNAL_PAGE
from fleet_server.tenant_chores import Done, TenantChores, kept_since
from fleet_server.tenants.repository import TenantRepository
from fleet_server.timeline.writer import NewEvent, append_events

TICK_S = 1.0
# Words of the time before may still be waiting at the broker or in the agents' spools when the server comes back.
SPARED_AFTER_START = timedelta(seconds=60)
# A piece of due executions is one transaction; so many pieces a turn, then others get their turn.
_MAX_PIECES = 20
_LOCK_NUMBER = 7_451_002
_log = structlog.get_logger(__name__)

Work = Callable[[TenantChores, Session, datetime], Done]


@dataclass(slots=True)
class Chore:
    """``prepare``: what can be done before its transaction begins. ``each``: it is done for every tenant; ``keeps_to``:
    in a transaction that sees nothing of the others.
    """

    name: str
    every: timedelta
    work: Work
    next_at: datetime | None = None
    prepare: Callable[[TenantChores, datetime], None] = lambda *_: None
    each: bool = False
    keeps_to: bool = False

    def is_due(self, now: datetime) -> bool:
        # A clock that was set back must not stop a chore for as long as it was wrong.
        return self.next_at is None or now >= self.next_at or self.next_at > now + self.every


class Scheduler:
    def __init__(
        self,
        engine: Engine,
        settings: ServerSettings,
        dispatcher: Dispatcher,
        courier: Courier | None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._dispatcher = dispatcher
        self._outbound = Outbound(courier, lambda: None)
        self._clock = clock
        self._leads_since: datetime | None = None
        self._of_tenant: dict[str, TenantChores] = {}
        self._signatures_to_copy = NONE_TO_COPY
        self._listening_s: float | None = None
        self._leadership = Leadership(engine, "scheduler", _LOCK_NUMBER)
        self._audit_watch = AuditWatch(engine, settings)
        cache = CapabilityCache()
        conflicts = Conflicts()
        desk = ExecutionDesk(engine, cache, dispatcher, self._outbound, conflicts)
        self._playbooks = PlaybookKeeper(engine, cache, dispatcher, self._outbound, conflicts)
        self._inspections = InspectionKeeper(engine, cache, desk)
        self._eraser = Eraser(engine, Ledger(settings.erasures_file), clock)
        self._chores = (*self._for_each_tenant(), *self._for_all())

    def _for_each_tenant(self) -> list[Chore]:
        each, one = partial(Chore, each=True, keeps_to=True), TenantChores
        # What ingest's own ways of writing are used for goes as ingest does: COPY is refused to whoever a policy holds.
        unheld = partial(Chore, each=True)
        kept = upkeep.kept(self._settings.health_kept)
        return [
            each("executions", timedelta(seconds=1), self._executions),
            unheld("presence", timedelta(seconds=2), self._presence, prepare=self._read_listening),
            unheld("conditions", timedelta(minutes=1), one.conditions),
            unheld("gaps", timedelta(seconds=10), one.gaps),
            each("idempotency_keys", timedelta(minutes=5), one.idempotency_keys),
            unheld("playbooks", timedelta(seconds=1), self._walk),
            unheld("inspections", timedelta(seconds=1), self._inspect),
            each("old_inspections", timedelta(minutes=10), self._old_inspections),
            each("old_people", timedelta(minutes=10), one.old_people),
            Chore("old_notes", timedelta(hours=1), self._old_notes, each=True),
            each("retention", timedelta(minutes=10), self._retention),
            unheld("old_records", timedelta(minutes=10), one.old_records),
            unheld("health_folding", timedelta(seconds=15), one.folding, prepare=self._read_due),
            *(unheld(f"old_{table.kind.table}", timedelta(minutes=10), partial(_old_health, table)) for table in kept),
        ]

    def _for_all(self) -> list[Chore]:
        return [
            Chore("old_events", timedelta(minutes=10), self._old_events),
            Chore("health_partitions", timedelta(minutes=10), self._partitions),
            Chore("signatures", timedelta(seconds=5), self._signatures, prepare=self._read_signatures),
            Chore("software", timedelta(minutes=10), self._software, each=True),
            Chore("erasures", timedelta(seconds=2), self._erasures),
            Chore("sessions", timedelta(minutes=1), self._sessions),
            Chore("audit", timedelta(minutes=1), self._audit),
            Chore("old_audit", timedelta(minutes=10), self._old_audit),
        ]

    @property
    def leads(self) -> bool:
        return self._leads_since is not None

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set."""
        try:
            while not stop.is_set():
                self.tick()
                stop.wait(TICK_S)
        finally:
            self._leadership.give_up()

    def tick(self) -> bool:
        """Whether this process leads; if so, every chore that is due has had its turn."""
        if not self._leadership.holds():
            self._leads_since = None
            return False
        now = self._clock()
        self._leads_since = self._leads_since or now
        for chore in self._chores:
            if chore.is_due(now):
                chore.next_at = now + chore.every
                self._take_turn(chore)
        return True

    def _take_turn(self, chore: Chore) -> None:
        try:
            going = self._tenants() if chore.each else [self._own]
        except Exception:  # noqa: BLE001 - as below
            _log.exception("a chore failed", chore=chore.name)
            return
        for _ in range(_MAX_PIECES):
            going = [one for one in going if self._wants_more(chore, one)]

    def _wants_more(self, chore: Chore, tenant: TenantChores) -> bool:
        try:
            done = self._piece(chore, tenant)
        except Exception:  # noqa: BLE001 - one chore's error must not stop the others; it is tried again at its next turn
            _log.exception("a chore failed", chore=chore.name, tenant=tenant.id)
            return False
        if done.soon:
            chore.next_at = None
        return done.more

    def _piece(self, chore: Chore, tenant: TenantChores) -> Done:
        now = self._clock()
        chore.prepare(tenant, now)
        with transaction(self._engine, tenant.id if chore.keeps_to else None) as session:
            done = chore.work(tenant, session, now)
            events = [*_events_of(done.outgoing), *done.events]
            ids = append_events(session, tenant.id, events, now)
        self._outbound.publish(done.outgoing, ids)
        return done

    @property
    def _own(self) -> TenantChores:
        return self._chores_of(self._settings.tenant)

    def _tenants(self) -> list[TenantChores]:
        """Also those that are suspended: what they have sent ends and is forgotten as everybody's."""
        with reading(self._engine) as session:
            known = {self._settings.tenant, *TenantRepository(session).ids()}
        return [self._chores_of(one) for one in sorted(known)]

    def _chores_of(self, tenant_id: str) -> TenantChores:
        return self._of_tenant.setdefault(tenant_id, TenantChores(tenant_id, self._settings, self._dispatcher))

    def _executions(self, tenant: TenantChores, session: Session, now: datetime) -> Done:
        spared = self._leads_since is None or now < self._leads_since + SPARED_AFTER_START
        return tenant.executions(session, now, spare_started=spared, can_send=self._outbound.is_connected)

    def _read_listening(self, _tenant: TenantChores, now: datetime) -> None:
        with reading(self._engine) as session:
            self._listening_s = listening_s(session, now)

    def _presence(self, tenant: TenantChores, session: Session, now: datetime) -> Done:
        return tenant.presence(session, now, self._listening_s)

    def _retention(self, tenant: TenantChores, session: Session, now: datetime) -> Done:
        return tenant.retention(session, now, len(self._of_tenant))

    def _read_due(self, tenant: TenantChores, now: datetime) -> None:
        with reading(self._engine) as session:
            tenant.read_due(session, now)

    def _old_events(self, _own: TenantChores, session: Session, now: datetime) -> Done:
        before = kept_since(now, self._settings.events_kept_days)
        return Done(soon=before is not None and memory.forget_events(session, before) >= memory.BATCH)

    def _partitions(self, _own: TenantChores, session: Session, now: datetime) -> Done:
        upkeep.make_partitions(session, now)
        return Done()

    def _read_signatures(self, _own: TenantChores, now: datetime) -> None:
        with reading(self._engine) as session:
            copied = copied_until(session)
        try:
            self._dispatcher.give_policy(self._settings.policy_file, now)
        except PolicyRefused as error:
            _log.warning("the signer does not take the policy", detail=str(error))
        except SignerUnreachable:
            # Said below, where more than a policy depends on it.
            pass
        try:
            self._signatures_to_copy = self._dispatcher.signatures(*copied)
        except SignerUnreachable:
            # It keeps them; commands that wait for it say so.
            self._signatures_to_copy = NONE_TO_COPY

    def _signatures(self, own: TenantChores, session: Session, _now: datetime) -> Done:
        page = self._signatures_to_copy
        write_journal(session, own.id, page)
        return Done(more=len(page.entries) == MAX_JOURNAL_PAGE)

    def _software(self, tenant: TenantChores, _session: Session, now: datetime) -> Done:
        # Files and the signer alone: its transaction has not begun as long as nothing is asked of it.
        if (self._settings.artifacts_dir / tenant.id).is_dir():
            from fleet_server.artifacts.publishing import keep_fresh

            keep_fresh(self._settings, tenant.id, self._dispatcher, now)
        return Done()

    def _inspect(self, own: TenantChores, _session: Session, now: datetime) -> Done:
        # In transactions of its own, as below.
        return Done(soon=self._inspections.step(own.id, now))

    def _walk(self, own: TenantChores, _session: Session, now: datetime) -> Done:
        # In transactions of its own, as below.
        return Done(more=self._playbooks.step(own.id, now))

    def _old_inspections(self, own: TenantChores, session: Session, now: datetime) -> Done:
        before = kept_since(now, self._settings.inspections_kept_days)
        rows = InspectionRepository(session, own.id)
        return Done(soon=before is not None and rows.forget(before, memory.BATCH) > 0)

    def _audit(self, _own: TenantChores, _session: Session, now: datetime) -> Done:
        # In transactions of its own, as below.
        return Done(soon=self._audit_watch.step(now))

    def _old_audit(self, _own: TenantChores, session: Session, _now: datetime) -> Done:
        return Done(soon=forget_removed(session, self._settings))

    def _erasures(self, _own: TenantChores, _session: Session, _now: datetime) -> Done:
        # In transactions of its own, as below.
        return Done(soon=self._eraser.step() is not None)

    def _old_notes(self, tenant: TenantChores, _session: Session, now: datetime) -> Done:
        before = kept_since(now, self._settings.notes_kept_days)
        # As above.
        return Done(soon=before is not None and forget_notes(self._engine, tenant.id, before))

    def _sessions(self, _own: TenantChores, _session: Session, now: datetime) -> Done:
        # In a transaction of its own: this chore's has not begun as long as nothing is asked of it.
        sweep_sessions(self._engine, now)
        return Done()


def _old_health(table: upkeep.Kept, tenant: TenantChores, session: Session, now: datetime) -> Done:
    return tenant.old_health(table, session, now)


def _events_of(outgoing: Sequence[Outgoing]) -> list[NewEvent]:
    return [message.event for message in outgoing if message.event is not None]
