"""What the timeline says about the walk of a playbook."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fleet_server.playbooks.models import PlaybookRun
from fleet_server.timeline.writer import NewEvent

PLAYBOOK = "playbook"


def moved(run: PlaybookRun, what: str, at: datetime, *, actor: str = "", **more: Any) -> NewEvent:
    """``what``: started, step, cancelling, ended."""
    data = {
        "run": run.id,
        "playbook": run.playbook,
        "version": run.version,
        "title": run.definition["title"],
        "what": what,
        "end": run.end_name,
        "end_kind": run.end_kind,
        "why": run.why,
        "actor": actor or run.started_by,
        **more,
    }
    return NewEvent(run.device_id, PLAYBOOK, at, data, actor=actor)
