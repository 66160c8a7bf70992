"""What the timeline says about an execution: one shape for every move, report and verdict."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from fleet_server.executions.ledger import Standing
from fleet_server.executions.repository import Entry
from fleet_server.kit.times import text
from fleet_server.timeline.writer import NewEvent
from protocol.records import ExecutionReport, Verdict

EXECUTION = "execution"
VERDICT = "verdict"
SECURITY = "security"


def moved(entry: Entry, standing: Standing, at: datetime, *, actor: str = "", **more: Any) -> NewEvent:
    """The execution stands at ``standing`` now. ``actor``: the person who made it move, if one did."""
    data = {
        "execution": entry.id,
        "action": entry.action,
        "kind": entry.kind.value,
        "state": standing.state.value,
        "step": standing.step,
        "step_index": standing.step_index,
        "step_count": standing.step_count,
        "progress_pct": standing.progress_pct,
        "outcome": standing.outcome,
        "code": standing.code,
        "detail": standing.detail,
        "actor": actor or entry.actor,
        "attempt": standing.attempt,
        "hold_until": text(standing.hold_until),
        "result": standing.result(entry.kind),
        "holds": standing.holds,
        "earliest_start": text(standing.earliest_start),
        "cancel_answer": standing.cancel_answer,
        **more,
    }
    if standing.output_tail:
        data["output_tail"] = standing.output_tail
    return NewEvent(entry.device_id, EXECUTION, at, data, execution_id=entry.id, actor=actor)


def late(device_id: str, report: ExecutionReport, at: datetime, *, action: str = "") -> NewEvent:
    """A word that comes after the end, or about an execution that is not in the ledger: evidence, nothing more."""
    data = {
        "execution": report.execution,
        "action": action,
        "state": report.state.value,
        "outcome": None if report.outcome is None else report.outcome.value,
        "code": report.code,
        "detail": report.detail,
        "late": True,
    }
    return NewEvent(device_id, EXECUTION, at, data, execution_id=report.execution)


def verdict(device_id: str, body: Verdict, at: datetime) -> NewEvent:
    data: dict[str, Any] = {
        "execution": body.execution,
        "action": body.action,
        "phase": body.phase.value,
        "outcome": body.outcome.value,
        "item": body.item,
        "value": body.value,
        "unit": body.unit,
        "limits": None if body.limits is None else msgspec.to_builtins(body.limits),
        "evidence": body.evidence,
        "codes": body.codes,
        "duration_ms": body.duration_ms,
    }
    return NewEvent(device_id, VERDICT, at, data, execution_id=body.execution)


def broken_glass(entry: Entry, reason: str, at: datetime, *, actor: str) -> NewEvent:
    """A change went out on the word of the key that lies offline, with no approver asked."""
    data = {"code": "break_glass", "detail": f"{entry.action} by break-glass: {reason}"[:300], "execution": entry.id}
    return NewEvent(entry.device_id, SECURITY, at, data, execution_id=entry.id, actor=actor)


def not_its_own(device_id: str, execution_id: str, at: datetime) -> NewEvent:
    """A device speaks about an execution of another device."""
    data = {"code": "foreign_execution", "detail": f"spoke about execution {execution_id} of another device"}
    return NewEvent(device_id, SECURITY, at, data)
