"""What the scheduler does for one tenant, and how far it came with it.

Invariant: nothing here reads or changes what is another tenant's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import Session

from fleet_server import memory
from fleet_server.devices.apply import sweep_presence
from fleet_server.devices.condition import sweep_conditions
from fleet_server.executions.dispatch import BATCH, Dispatcher, Outgoing
from fleet_server.executions.repository import ExecutionRepository
from fleet_server.health import upkeep
from fleet_server.health.folding import Due, read_due, write_folded
from fleet_server.ingest import retention
from fleet_server.ingest.gaps import show_open
from fleet_server.personal.retention import forget_contacts, forget_people
from fleet_server.settings import ServerSettings
from fleet_server.timeline.writer import NewEvent

_NOTHING_DUE = Due({}, {}, more=False)


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
class TenantChores:
    id: str
    settings: ServerSettings
    dispatcher: Dispatcher
    _conditions_after: str = ""
    _forgotten_after: dict[str, str] = field(default_factory=dict)  # by table
    _to_fold: Due = _NOTHING_DUE

    def executions(self, session: Session, now: datetime, *, spare_started: bool, can_send: bool) -> Done:
        taken = self.dispatcher.take_overdue(session, self.id, now, spare_started=spare_started, can_send=can_send)
        count = len(taken.outgoing) + len(taken.events)
        return Done(taken.events, taken.outgoing, more=count >= BATCH)

    def presence(self, session: Session, now: datetime, listening_s: float | None) -> Done:
        return Done(sweep_presence(session, self.id, now, listening_s))

    def conditions(self, session: Session, now: datetime) -> Done:
        self._conditions_after = sweep_conditions(session, self.id, now, self._conditions_after)
        return Done(more=self._conditions_after != "")

    def gaps(self, session: Session, now: datetime) -> Done:
        return Done(show_open(session, self.id, now))

    def old_people(self, session: Session, now: datetime) -> Done:
        contacts = kept_since(now, self.settings.site_contacts_kept_days)
        people = kept_since(now, self.settings.people_kept_days)
        done = 0 if contacts is None else forget_contacts(session, self.id, contacts)
        done += 0 if people is None else forget_people(session, self.id, people, now)
        return Done(soon=done > 0)

    def idempotency_keys(self, session: Session, now: datetime) -> Done:
        ExecutionRepository(session, self.id).forget_expired_keys(now)
        return Done()

    def retention(self, session: Session, now: datetime, tenants: int) -> Done:
        retention.trim(session, self.id, now, tenants)
        return Done()

    def old_records(self, session: Session, now: datetime) -> Done:
        before = kept_since(now, self.settings.records_kept_days)
        if before is None:
            return Done()
        after = memory.forget_records(session, self.id, before, self._forgotten_after.get("record", "")).after
        self._forgotten_after["record"] = after
        return Done(soon=after != "")

    def read_due(self, session: Session, now: datetime) -> None:
        self._to_fold = read_due(session, self.id, now)

    def folding(self, session: Session, now: datetime) -> Done:
        more = write_folded(session, self._to_fold, now).more
        return Done(more=more, soon=more)

    def old_health(self, table: upkeep.Kept, session: Session, now: datetime) -> Done:
        if upkeep.drop_partitions(session, table, now):
            return Done(soon=True)
        name = table.kind.table
        after = upkeep.forget(session, self.id, table, now, self._forgotten_after.get(name, "")).after
        self._forgotten_after[name] = after
        return Done(soon=after != "")


def kept_since(now: datetime, kept_days: int) -> datetime | None:
    return now - timedelta(days=kept_days) if kept_days else None
