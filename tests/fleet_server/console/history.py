"""What happened to the invented fleet: a timeline of every kind of event, and runs in many states."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlmodel import Session

from fleet_server.executions.models import Execution
from fleet_server.health.apply import HealthReport, apply_health
from fleet_server.ingest.models import DeadLetter
from fleet_server.kit.times import to_ms
from fleet_server.timeline.writer import NewEvent, append_events
from protocol.capabilities import Action
from protocol.commands import QUEUE_EXPIRY
from protocol.executions import FINAL, ExecutionState
from protocol.records import HealthColumns, Sample
from tests.fleet_server.console.declared import FULL_CHECK, SYNC
from tests.fleet_server.console.examples import TENANT, device_id

TILL = device_id("till_one")


def run_id(state: ExecutionState, number: int = 1) -> str:
    return f"01900000-0000-7000-8000-{list(ExecutionState).index(state):04d}{number:08d}"


def add_history(session: Session, now: datetime) -> None:
    for state in ExecutionState:
        session.add(execution(state, SYNC, now - timedelta(hours=3)))
    session.add(execution(ExecutionState.SUCCEEDED, FULL_CHECK, now - timedelta(minutes=2), number=2, outcome="fail"))
    session.add(
        DeadLetter(
            tenant_id=TENANT,
            link_id=TILL,
            topic_kind="up",
            reason="not_decodable",
            detail="expected JSON, came something else",
            content_type="application/json",
            payload=b"\xff\xfe",
            received_at=now,
        )
    )
    session.flush()
    _add_course(session, now)
    append_events(session, TENANT, [*_timeline(now), *_of_full_check(now), *_of_fix(now)], now)


def execution(
    state: ExecutionState, action: Action, now: datetime, *, number: int = 1, outcome: str | None = None
) -> Execution:
    is_final = state in FINAL
    return Execution(
        id=run_id(state, number),
        tenant_id=TENANT,
        device_id=TILL,
        link_id=TILL,
        action=action.name,
        kind=action.kind.value,
        danger_class=int(action.danger_class),
        params={},
        declared=msgspec.to_builtins(action),
        actor="support",
        state=state.value,
        is_final=is_final,
        outcome=outcome,
        code="post_check_failed" if state is ExecutionState.FAILED else "",
        detail="clock.read: 900 s after 5 s" if state is ExecutionState.FAILED else "",
        step_index=2,
        step_count=2,
        created_at=now,
        queued_until=now + QUEUE_EXPIRY[action.kind],
        deadline_at=None if is_final else now + timedelta(hours=1),
        published_at=now + timedelta(seconds=1),
        stored_at=now + timedelta(seconds=2),
        started_at=now + timedelta(seconds=3),
        verifying_at=now + timedelta(seconds=5) if state is ExecutionState.SUCCEEDED else None,
        finished_at=now + timedelta(seconds=66) if is_final else None,
    )


def _add_course(session: Session, now: datetime) -> None:
    """A week of readings with a night without any; the last minutes are out of range."""
    begins = [now - timedelta(hours=hours) for hours in range(168, 0, -2) if not 10 < hours <= 16]
    given = [
        HealthReport(TILL, "traditional", TILL, "c" * 32, number + 1, at, _columns(at, number))
        for number, at in enumerate(begins)
    ]
    apply_health(session, TENANT, given, now)


def _columns(at: datetime, number: int) -> HealthColumns:
    steps = range(60)
    numbers: dict[str, list[Sample]] = {
        "net.rtt_ms": [
            38.0 + (number * 7 + step * 3) % 11 + (600 if number == 40 and step == 30 else 0) for step in steps
        ],
        "modem.rsrp_dbm": [
            -91.0 - (number + step) % 5 - (20 if number % 12 == 5 and step > 40 else 0) for step in steps
        ],
        "sys.mem_avail_pct": [40.0 - (number * 60 + step) % 500 / 60 for step in steps],
        "sys.clock_drift_s": [float(step % 3) for step in steps],
    }
    return HealthColumns(to_ms(at), 120_000, 60, numbers)


def _timeline(now: datetime) -> list[NewEvent]:
    def event(minutes: float, kind: str, data: dict[str, Any], actor: str = "") -> NewEvent:
        return NewEvent(TILL, kind, now - timedelta(minutes=minutes), data, actor=actor)

    clock = {"code": "term.CLOCK_INVALID", "severity": "critical", "fault": "f-till_one"}
    return [
        event(1500, "presence", {"status": "online", "reason": "connected"}),
        event(1400, "fault_raised", {**clock, "evidence": "2019-01-01"}),
        event(1390, "fault_cleared", {**clock, "lasted_s": 600}),
        event(60, "capabilities", {"digest": "d" * 64}),
        event(40, "presence", {"status": "offline", "reason": "connection lost"}),
        event(36, "gap", {"stream": "a" * 32, "first": 100, "last": 141, "state": "filled", "reason": ""}),
        event(35, "presence", {"status": "online", "reason": "connected"}),
        *(event(21 - n, "fault_raised", {**clock, "evidence": "2019-01-01"}) for n in range(3)),
        event(15, "reading", {"metrics": {"net.rtt_ms": 812.0}}),
        event(10, "note", {"text": "店长说昨晚停过电", "actor": "support"}, actor="support"),
        event(8, "security", {"code": "signature", "detail": "a command was not signed by a known key"}),
    ]


def verdict(item: str, outcome: str, value: float | str | None, **more: Any) -> dict[str, Any]:
    return {
        "action": "device.full_check",
        "phase": "result",
        "outcome": outcome,
        "item": item,
        "value": value,
        "unit": "",
        "limits": None,
        "evidence": "",
        "codes": [],
        "duration_ms": 120,
        **more,
    }


def _of_full_check(now: datetime) -> list[NewEvent]:
    run = run_id(ExecutionState.SUCCEEDED, 2)
    results = [
        verdict("sys.clock_drift_s", "fail", -212975940.0, unit="s", limits={"low": -30.0, "high": 30.0},
                evidence="clock.read  device=2019-01-01T03:21:58", codes=["term.CLOCK_INVALID"]),
        verdict("net.rtt_ms", "pass", 38.0, unit="ms", limits={"high": 600.0}),
        verdict("prn.status", "warn", "paper_low"),
        verdict("modem.sim_state", "unsupported", None),
    ]  # fmt: skip
    moved = {"execution": run, "action": FULL_CHECK.name, "kind": "check", "actor": "support"}
    at = now - timedelta(minutes=2)
    return [
        NewEvent(TILL, "execution", at, {**moved, "state": "QUEUED"}, execution_id=run, actor="support"),
        *(NewEvent(TILL, "verdict", at, {**data, "execution": run}, execution_id=run) for data in results),
        NewEvent(TILL, "execution", at, {**moved, "state": "SUCCEEDED"}, execution_id=run),
    ]


def _of_fix(now: datetime) -> list[NewEvent]:
    run = run_id(ExecutionState.SUCCEEDED)
    at = now - timedelta(hours=3)
    seconds: dict[str, Any] = {"unit": "s", "limits": {"low": -30.0, "high": 30.0}}
    results = [
        verdict("sys.clock_drift_s", "fail", -212975940.0, phase="pre_check", **seconds),
        verdict("sys.clock_drift_s", "pass", 0.3, phase="post_check", **seconds),
        verdict("sys.clock_drift_s", "pass", 0.2, phase="post_check", **seconds),
    ]
    moved = {"execution": run, "action": SYNC.name, "kind": "fix", "actor": "support"}
    return [
        *(NewEvent(TILL, "verdict", at, {**data, "execution": run}, execution_id=run) for data in results),
        NewEvent(TILL, "execution", at, {**moved, "state": "SUCCEEDED"}, execution_id=run),
    ]
