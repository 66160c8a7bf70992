"""What devices say about executions, applied to the ledger in the transaction of the device door.

Reports may be repeated, late and in any order; `fleet_server.executions.ledger` decides what each is worth. A report
never starts anything. A device that speaks about another device's execution changes nothing and is noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlmodel import Session

from fleet_server.executions import happenings
from fleet_server.executions.ledger import Heard, Standing, reported
from fleet_server.executions.repository import Entry, ExecutionRepository
from fleet_server.timeline.writer import NewEvent
from protocol.records import ExecutionReport, Outcome, Phase, Verdict

_WORST_FIRST = (Outcome.ERROR, Outcome.FAIL, Outcome.WARN, Outcome.UNSUPPORTED, Outcome.PASS)


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """``at``: when it happened, by the device's clock corrected by its offset."""

    device_id: str
    link_id: str
    body: ExecutionReport | Verdict
    at: datetime


def apply_reports(session: Session, tenant_id: str, reports: Sequence[DeviceReport], now: datetime) -> list[NewEvent]:
    """The events they make, in the order of the reports; the caller appends them in the same transaction."""
    ids = {report.body.execution for report in reports if report.body.execution is not None}
    repository = ExecutionRepository(session, tenant_id)
    ledger = _Ledger(repository.locked(ids) if ids else {}, now)
    events = [event for report in reports for event in ledger.hear(report)]
    repository.save(ledger.moves())
    return events


class _Ledger:
    """The entries a batch speaks about, and where they stand after each report of it."""

    def __init__(self, entries: dict[str, Entry], now: datetime) -> None:
        self._entries = entries
        self._now = now
        self.changed: dict[str, Standing] = {}

    def moves(self) -> list[tuple[Entry, Standing]]:
        return [(self._entries[one], standing) for one, standing in self.changed.items()]

    def hear(self, report: DeviceReport) -> list[NewEvent]:
        execution_id = report.body.execution
        entry = None if execution_id is None else self._entries.get(execution_id)
        if entry is not None and entry.device_id != report.device_id:
            return [happenings.not_its_own(report.device_id, entry.id, report.at)]
        if isinstance(report.body, Verdict):
            if entry is not None:
                self._take_outcome(entry, report.body)
            return [happenings.verdict(report.device_id, report.body, report.at)]
        if entry is None:
            return [happenings.late(report.device_id, report.body, report.at)]
        return self._take_report(entry, report.body, report.at)

    def _take_report(self, entry: Entry, body: ExecutionReport, at: datetime) -> list[NewEvent]:
        before = self._standing(entry)
        standing, heard = reported(before, entry.terms, body, min(at, self._now), self._now)
        if standing != before:
            self.changed[entry.id] = standing
        match heard:
            case Heard.NOTHING_NEW:
                return []
            case Heard.LATE:
                return [happenings.late(entry.device_id, body, at, action=entry.action)]
            case Heard.MOVED | Heard.PROGRESS:
                return [happenings.moved(entry, standing, at)]
            case Heard.CAME_BACK:
                return [happenings.moved(entry, standing, at, came_back=True)]

    def _take_outcome(self, entry: Entry, body: Verdict) -> None:
        """Until it ends, the worst verdict of the result so far is the outcome. What has ended is as it ended."""
        before = self._standing(entry)
        if body.phase is not Phase.RESULT or before.is_final:
            return
        outcome = body.outcome if before.outcome is None else _worse(Outcome(before.outcome), body.outcome)
        if outcome.value != before.outcome:
            self.changed[entry.id] = replace(before, outcome=outcome.value)

    def _standing(self, entry: Entry) -> Standing:
        return self.changed.get(entry.id, entry.standing)


def _worse(one: Outcome, other: Outcome) -> Outcome:
    return min(one, other, key=_WORST_FIRST.index)
