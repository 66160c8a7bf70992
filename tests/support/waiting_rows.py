"""Rows of what waits for a person: runs that are queued or need an approval, permits, devices that enrol themselves."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import msgspec
from sqlmodel import Session

from fleet_server.approvals.documents import Documents, Proposal
from fleet_server.approvals.models import ShiftPermit
from fleet_server.assignments.models import Assignment
from fleet_server.enrollment.models import Enrolment
from fleet_server.executions.models import Execution
from fleet_server.inspections.models import Inspection
from fleet_server.inspections.plans import Group
from fleet_server.kit.times import utc_now
from protocol.capabilities import Action
from tests.fleet_server.factories import ECHO, RESTART, TENANT

# Of each kind; what a request has used up is answered 409 to the next one.
MANY = 20
NOW = utc_now()


def waiting_runs(session: Session, device: str) -> dict[str, list[str]]:
    reads = [_run(session, device, ECHO, f"run-reads-{number:04}", "QUEUED") for number in range(MANY)]
    waits = [_run(session, device, RESTART, f"run-waits-{number:04}", "AWAITING_APPROVAL") for number in range(MANY)]
    documents = Documents(session, TENANT)
    for run in waits:
        until = NOW + timedelta(hours=20)
        proposal = Proposal(run, device, RESTART.name, {}, RESTART.danger_class, "lin", "because", until)
        documents.propose(proposal, NOW)
    return {"reads": reads, "waits": waits}


def _run(session: Session, device: str, action: Action, run: str, state: str) -> str:
    values: dict[str, Any] = {
        "id": run,
        "tenant_id": TENANT,
        "device_id": device,
        "link_id": device,
        "action": action.name,
        "kind": action.kind.value,
        "danger_class": int(action.danger_class),
        "params": {},
        "declared": msgspec.to_builtins(action),
        "actor": "lin",
        "state": state,
        "created_at": NOW,
        "queued_until": NOW + timedelta(hours=20),
        "deadline_at": NOW + timedelta(hours=20),
    }
    session.add(Execution(**values))
    session.flush()
    return run


def permit_row(session: Session, number: int) -> str:
    row = ShiftPermit(
        id=f"permit-{number:04}",
        tenant_id=TENANT,
        people="mei",
        envelope="{}",
        actions=[RESTART.name],
        target_count=1,
        max_count=1,
        max_per_device=1,
        reason="",
        not_before=NOW,
        not_after=NOW + timedelta(hours=8),
        created_at=NOW,
    )
    session.add(row)
    return row.id


def enrolment_id(state: str, number: int) -> str:
    return f"enrolment-{state}-{number:04}"


def enrolment_row(session: Session, state: str, number: int) -> str:
    row = Enrolment(
        id=enrolment_id(state, number),
        tenant_id=TENANT,
        kind="new",
        state=state,
        device_id=f"d-{state}-{number:04}",
        serial_number=f"{state.upper()}{number:04}",
        model="M-1",
        terminal_class="e_sign",
        created_by="system",
        created_at=NOW,
        expires_at=NOW + timedelta(days=9),
        asked_at=None if state == "open" else NOW,
        needs_approval=True,
    )
    session.add(row)
    return row.id


def inspection_row(session: Session, number: int) -> str:
    row = Inspection(
        id=f"inspection-{number:04}",
        tenant_id=TENANT,
        name=f"Round {number}",
        checks=[ECHO.name],
        days=[1],
        at_local="02:00",
        window_min=120,
        devices=asdict(Group()),
        state="active",
        created_by="lin",
        created_at=NOW,
        changed_at=NOW,
        planned_from=NOW,
    )
    session.add(row)
    return row.id


def assignment_row(session: Session, number: int, device: str) -> str:
    row = Assignment(
        id=f"assignment-{number:04}",
        tenant_id=TENANT,
        assignee_id="nobody",
        device_id=device,
        begins_at=NOW,
        ends_at=NOW + timedelta(hours=20),
        created_by="lin",
        created_at=NOW,
    )
    session.add(row)
    return row.id
