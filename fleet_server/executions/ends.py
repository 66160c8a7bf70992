"""How executions ended, many at once: for whoever asked for them in a row."""

from __future__ import annotations

from collections.abc import Collection

from sqlmodel import Session

from fleet_server.executions.repository import ExecutionRepository
from protocol.executions import ExecutionState


def read_ends(session: Session, tenant_id: str, ids: Collection[str]) -> dict[str, dict[str, str]]:
    """Of those that have ended: their state, their code, and the verdict, "" of one that did not run to its end."""
    ends = {}
    for execution_id, state, outcome, code in ExecutionRepository(session, tenant_id).ended(ids):
        verdict = (outcome or "error") if state == ExecutionState.SUCCEEDED else ""
        ends[execution_id] = {"state": state, "outcome": verdict, "code": code}
    return ends
