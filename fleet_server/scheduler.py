"""What happens because time passes: executions fall due, devices fall silent, gaps last, what is old ends and goes.

Of all scheduler processes one works (`fleet_server.kit.leadership`); the others wait to take over. Each chore is one
transaction, and what it has to publish leaves after its commit. A chore that fails is tried again at its next turn and
keeps none of the others from theirs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server import memory
from fleet_server.audit.watch import AuditWatch, forget_removed
from fleet_server.auth.service import sweep_sessions
from fleet_server.db import reading, transaction
from fleet_server.devices.apply import sweep_presence
from fleet_server.devices.condition import sweep_conditions
from fleet_server.executions.dispatch import BATCH, Dispatcher, Outgoing
from fleet_server.executions.outbound import Courier, Outbound
from fleet_server.executions.repository import ExecutionRepository
from fleet_server.health import upkeep
from fleet_server.health.folding import Due, read_due, write_folded
from fleet_server.ingest import retention
from fleet_server.ingest.gaps import show_open
from fleet_server.kit.leadership import Leadership
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings
from fleet_server.signer.auditing import NONE_TO_COPY, copied_until, write_journal
from fleet_server.signer.errors import PolicyRefused, SignerUnreachable
from fleet_server.signer.messages import MAX_JOURNAL_PAGE
from fleet_server.timeline.writer import NewEvent, append_events

TICK_S = 1.0
# Words of the time before may still be waiting at the broker or in the agents' spools when the server comes back.
SPARED_AFTER_START = timedelta(seconds=60)
# A piece of due executions is one transaction; so many pieces a turn, then others get their turn.
_MAX_PIECES = 20
_LOCK_NUMBER = 7_451_002
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Done:
    """What one turn of a chore made. ``more``: it stopped at its limit and wants another turn at once. ``soon``: at the
    next tick, for others want to write in between.
    """

    events: list[NewEvent] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    more: bool = False
    soon: bool = False


@dataclass(slots=True)
class Chore:
    """``prepare``: what can be done before its transaction begins."""

    name: str
    every: timedelta
    work: Callable[[Session, datetime], Done]
    next_at: datetime | None = None
    prepare: Callable[[datetime], None] = lambda _: None

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
        self._tenant_id = settings.tenant
        self._settings = settings
        self._dispatcher = dispatcher
        self._outbound = Outbound(courier, lambda: None)
        self._clock = clock
        self._leads_since: datetime | None = None
        self._conditions_after = ""
        self._forgotten_after: dict[str, str] = {}  # by table
        self._signatures_to_copy = NONE_TO_COPY
        self._to_fold = Due({}, {}, more=False)
        self._leadership = Leadership(engine, "scheduler", _LOCK_NUMBER)
        self._audit_watch = AuditWatch(engine, settings)
        kept = upkeep.kept(settings.health_kept)
        self._chores = (
            Chore("executions", timedelta(seconds=1), self._executions),
            Chore("presence", timedelta(seconds=2), self._presence),
            Chore("conditions", timedelta(minutes=1), self._conditions),
            Chore("gaps", timedelta(seconds=10), self._gaps),
            Chore("idempotency_keys", timedelta(minutes=5), self._idempotency_keys),
            Chore("retention", timedelta(minutes=10), self._retention),
            Chore("old_events", timedelta(minutes=10), self._old_events),
            Chore("old_records", timedelta(minutes=10), self._old_records),
            Chore("health_partitions", timedelta(minutes=10), self._partitions),
            Chore("health_folding", timedelta(seconds=15), self._folding, prepare=self._read_due),
            *(Chore(f"old_{one.kind.table}", timedelta(minutes=10), partial(self._old_health, one)) for one in kept),
            Chore("signatures", timedelta(seconds=5), self._signatures, prepare=self._read_signatures),
            Chore("sessions", timedelta(minutes=1), self._sessions),
            Chore("audit", timedelta(minutes=1), self._audit),
            Chore("old_audit", timedelta(minutes=10), self._old_audit),
        )

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
            for _ in range(_MAX_PIECES):
                done = self._piece(chore)
                if done.soon:
                    chore.next_at = None
                if not done.more:
                    return
        except Exception:  # noqa: BLE001 - one chore's error must not stop the others; it is tried again at its next turn
            _log.exception("a chore failed", chore=chore.name)

    def _piece(self, chore: Chore) -> Done:
        now = self._clock()
        chore.prepare(now)
        with transaction(self._engine) as session:
            done = chore.work(session, now)
            events = [*_events_of(done.outgoing), *done.events]
            ids = append_events(session, self._tenant_id, events, now)
        self._outbound.publish(done.outgoing, ids)
        return done

    def _executions(self, session: Session, now: datetime) -> Done:
        spared = self._leads_since is None or now < self._leads_since + SPARED_AFTER_START
        can_send = self._outbound.is_connected
        taken = self._dispatcher.take_overdue(session, now, spare_started=spared, can_send=can_send)
        count = len(taken.outgoing) + len(taken.events)
        return Done(taken.events, taken.outgoing, more=count >= BATCH)

    def _presence(self, session: Session, now: datetime) -> Done:
        return Done(sweep_presence(session, self._tenant_id, now))

    def _conditions(self, session: Session, now: datetime) -> Done:
        self._conditions_after = sweep_conditions(session, self._tenant_id, now, self._conditions_after)
        return Done(more=self._conditions_after != "")

    def _gaps(self, session: Session, now: datetime) -> Done:
        return Done(show_open(session, self._tenant_id, now))

    def _retention(self, session: Session, now: datetime) -> Done:
        retention.trim(session, self._tenant_id, now)
        return Done()

    def _old_events(self, session: Session, now: datetime) -> Done:
        before = _kept_since(now, self._settings.events_kept_days)
        return Done(soon=before is not None and memory.forget_events(session, before) >= memory.BATCH)

    def _partitions(self, session: Session, now: datetime) -> Done:
        upkeep.make_partitions(session, now)
        return Done()

    def _read_due(self, now: datetime) -> None:
        with reading(self._engine) as session:
            self._to_fold = read_due(session, self._tenant_id, now)

    def _folding(self, session: Session, now: datetime) -> Done:
        more = write_folded(session, self._to_fold, now).more
        return Done(more=more, soon=more)

    def _old_health(self, one: upkeep.Kept, session: Session, now: datetime) -> Done:
        if upkeep.drop_partitions(session, one, now):
            return Done(soon=True)
        name = one.kind.table
        after = upkeep.forget(session, self._tenant_id, one, now, self._forgotten_after.get(name, "")).after
        self._forgotten_after[name] = after
        return Done(soon=after != "")

    def _old_records(self, session: Session, now: datetime) -> Done:
        before = _kept_since(now, self._settings.records_kept_days)
        if before is None:
            return Done()
        after = memory.forget_records(session, self._tenant_id, before, self._forgotten_after.get("record", "")).after
        self._forgotten_after["record"] = after
        return Done(soon=after != "")

    def _idempotency_keys(self, session: Session, now: datetime) -> Done:
        ExecutionRepository(session, self._tenant_id).forget_expired_keys(now)
        return Done()

    def _read_signatures(self, now: datetime) -> None:
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

    def _signatures(self, session: Session, _now: datetime) -> Done:
        page = self._signatures_to_copy
        write_journal(session, self._tenant_id, page)
        return Done(more=len(page.entries) == MAX_JOURNAL_PAGE)

    def _audit(self, _session: Session, now: datetime) -> Done:
        # In transactions of its own, as below.
        return Done(soon=self._audit_watch.step(now))

    def _old_audit(self, session: Session, _now: datetime) -> Done:
        return Done(soon=forget_removed(session, self._settings))

    def _sessions(self, _session: Session, now: datetime) -> Done:
        # In a transaction of its own: this chore's has not begun as long as nothing is asked of it.
        sweep_sessions(self._engine, now)
        return Done()


def _kept_since(now: datetime, kept_days: int) -> datetime | None:
    return now - timedelta(days=kept_days) if kept_days else None


def _events_of(outgoing: Sequence[Outgoing]) -> list[NewEvent]:
    return [message.event for message in outgoing if message.event is not None]
