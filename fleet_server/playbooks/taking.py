"""A walk as its rows have it, for `protocol.playbooks.timing`; and what an execution's end means to its step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from fleet_server.executions.models import Execution
from fleet_server.playbooks.models import PlaybookRun, PlaybookStep
from fleet_server.timeline.models import Event
from protocol.commands import ActionKind
from protocol.executions import ExecutionState
from protocol.playbooks.hearing import Told, heard_of
from protocol.playbooks.language import Playbook
from protocol.playbooks.timing import Present, Walk
from protocol.playbooks.walking import Heard, Taken
from protocol.records import Outcome, Phase

_MAX_ITEMS = 64


def definition_of(run: PlaybookRun) -> Playbook:
    return msgspec.convert(run.definition, Playbook)


def walk_of(run: PlaybookRun, steps: Sequence[PlaybookStep]) -> Walk:
    """``steps`` in the order in which they were begun; the last may go on."""
    over = [one for one in steps if one.ended_at is not None]
    present = next((one for one in steps if one.ended_at is None), None)
    return Walk(
        begun_s=run.started_at.timestamp(),
        given=run.given,
        taken=[Taken(one.step, None if one.heard is None else msgspec.convert(one.heard, Heard)) for one in over],
        present=None if present is None else Present(present.step, present.begun_at.timestamp(), present.is_stopping),
        is_cancelled=run.cancel_asked_at is not None,
    )


def heard_from(execution: Execution, events: Sequence[Event]) -> Heard | None:
    """None while it goes on."""
    outcome = None if execution.outcome is None else Outcome(execution.outcome)
    told = [one for one in map(_told, events) if one is not None]
    return heard_of(ActionKind(execution.kind), ExecutionState(execution.state), execution.code, outcome, told)


def may_lack_findings(heard: Heard) -> bool:
    """A check that ran always finds something; its words may be on the way still."""
    return heard.verdict is not None and not heard.items


def stored(heard: Heard) -> dict[str, Any]:
    kept = msgspec.to_builtins(heard)
    for name in ("items", "values"):
        kept[name] = dict(list(kept[name].items())[:_MAX_ITEMS])
    return {**kept, "codes": sorted(kept["codes"])}


def until(seconds: float | None, like: datetime) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, like.tzinfo)


def _told(event: Event) -> Told | None:
    if event.type != "verdict":
        return None
    data = event.data
    value = data.get("value")
    return Told(
        phase=Phase(data["phase"]),
        item=str(data["item"]),
        outcome=Outcome(data["outcome"]),
        codes=tuple(data["codes"]),
        value=value if isinstance(value, bool | int | float | str) else None,
    )
