"""What an agent has reported, kept for asking and waiting: faults, readings, verdicts, states of executions.

Filled from one thread and asked from others. Invariants: a raising and the clearing that names it are one fault,
whichever came first; each list is bounded by `MAX_KEPT`: the oldest goes, and is counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from protocol.records import (
    ExecutionReport,
    FaultCleared,
    FaultRaised,
    HealthColumns,
    Record,
    Sample,
    SecurityEvent,
    SpoolLost,
    Tombstone,
    Verdict,
)

MAX_KEPT: Final = 10_000
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class SeenFault:
    """``cleared_at`` is None while it is open."""

    device: str
    code: str
    severity: str
    evidence: str
    raised_at: datetime
    cleared_at: datetime | None = None
    count: int = 1

    @property
    def is_open(self) -> bool:
        return self.cleared_at is None


@dataclass(frozen=True, slots=True)
class SeenVerdict:
    """One finding of a check, test or fix; ``outcome`` is pass, warn, fail, error or unsupported."""

    device: str
    action: str
    phase: str
    item: str
    outcome: str
    value: Sample
    unit: str
    evidence: str
    codes: tuple[str, ...]
    execution: str


class Reports:
    def __init__(self) -> None:
        self.dropped = 0
        self._news = threading.Condition()
        self._faults: dict[tuple[str, str, datetime], SeenFault] = {}
        self._readings: dict[str, dict[str, Sample]] = {}
        self._verdicts: deque[SeenVerdict] = deque(maxlen=MAX_KEPT)
        self._executions: dict[str, ExecutionReport] = {}

    def take(self, record: Record) -> None:
        with self._news:
            match record.body:
                case FaultRaised() as raised:
                    self._raised(record.device, raised)
                case FaultCleared() as cleared:
                    self._cleared(record.device, cleared)
                case HealthColumns() as health:
                    self._measured(record.device, health)
                case Verdict() as verdict:
                    self.dropped += len(self._verdicts) == MAX_KEPT
                    self._verdicts.append(_seen_verdict(record.device, verdict))
                case ExecutionReport() as report:
                    self._executions[report.execution] = report
                    self._bound(self._executions)
                case SecurityEvent() | Tombstone() | SpoolLost():
                    pass  # Of the agent and its spool, not of a terminal.
            self._news.notify_all()

    def open_faults(self) -> tuple[SeenFault, ...]:
        return tuple(fault for fault in self.all_faults() if fault.is_open)

    def all_faults(self) -> tuple[SeenFault, ...]:
        """Oldest first, open or not."""
        with self._news:
            return tuple(sorted(self._faults.values(), key=lambda fault: fault.raised_at))

    def fault(self, device: str | None, code: str) -> SeenFault | None:
        """The newest of this code, open or not; of any device when None."""
        found = [one for one in self.all_faults() if one.code == code and device in {None, one.device}]
        return found[-1] if found else None

    def readings(self, device: str) -> dict[str, Sample]:
        """The newest value of each metric."""
        with self._news:
            return dict(self._readings.get(device, {}))

    def verdicts(self, execution: str | None = None) -> tuple[SeenVerdict, ...]:
        with self._news:
            return tuple(one for one in self._verdicts if execution in {None, one.execution})

    def execution(self, execution: str) -> ExecutionReport | None:
        with self._news:
            return self._executions.get(execution)

    def wait_until(self, answer: Callable[[], AnswerT | None], within_s: float) -> AnswerT | None:
        """The first answer that is not None; None when time is up. Asked again with each report."""
        give_up_at = time.monotonic() + within_s
        while True:
            with self._news:
                found = answer()
                left_s = give_up_at - time.monotonic()
                if found is not None or left_s <= 0:
                    return found
                self._news.wait(left_s)

    def _raised(self, device: str, raised: FaultRaised) -> None:
        raised_at = _moment(raised.first_seen_ms)
        before = self._faults.get((device, raised.code, raised_at))
        cleared_at = before.cleared_at if before is not None else None
        self._keep(
            SeenFault(
                device, raised.code, raised.severity.value, raised.evidence, raised_at, cleared_at, count=raised.count
            )
        )

    def _cleared(self, device: str, cleared: FaultCleared) -> None:
        raised_at, cleared_at = _moment(cleared.raised_ms), _moment(cleared.cleared_ms)
        fault = self._faults.get((device, cleared.code, raised_at))
        if fault is None:
            fault = SeenFault(device, cleared.code, "", cleared.evidence, raised_at)
        self._keep(replace(fault, cleared_at=cleared_at, count=cleared.count))

    def _keep(self, fault: SeenFault) -> None:
        self._faults[fault.device, fault.code, fault.raised_at] = fault
        self._bound(self._faults)

    def _bound(self, kept: dict[Any, Any]) -> None:
        """Takes the oldest out when there is one too many."""
        if len(kept) > MAX_KEPT:
            self.dropped += 1
            del kept[next(iter(kept))]

    def _measured(self, device: str, health: HealthColumns) -> None:
        readings = self._readings.setdefault(device, {})
        for name, column in health.columns.items():
            newest = next((value for value in reversed(column) if value is not None), None)
            if newest is not None:
                readings[name] = newest


def _seen_verdict(device: str, verdict: Verdict) -> SeenVerdict:
    return SeenVerdict(
        device=device,
        action=verdict.action,
        phase=verdict.phase.value,
        item=verdict.item,
        outcome=verdict.outcome.value,
        value=verdict.value,
        unit=verdict.unit,
        evidence=verdict.evidence,
        codes=tuple(verdict.codes),
        execution=verdict.execution or "",
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
