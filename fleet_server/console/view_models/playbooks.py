"""Playbooks as the pages show them: what is offered for a device, and a walk in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet_server.console.moments import Calendar, Moment
from fleet_server.console.playbook_words import (
    CANCELLING,
    CLASSES,
    ENDS,
    STOPPED,
    WAITED,
    WAITING,
    WALKING,
    WHOM,
    WHY,
)
from fleet_server.console.view_models.actions import pick
from fleet_server.console.view_models.codes import code_text
from fleet_server.console.view_models.run import shape_of
from fleet_server.console.words import OUTCOMES, Shape
from fleet_server.executions.models import Execution
from fleet_server.playbooks.models import PlaybookRun, PlaybookStep
from fleet_server.playbooks.service import Offered, RunRead
from fleet_server.playbooks.taking import definition_of
from protocol.catalogue import faults
from protocol.commands import ActionKind
from protocol.executions import ExecutionState
from protocol.parameters import ParamValue
from protocol.playbooks.language import End, EndKind, Playbook
from protocol.records import Outcome


@dataclass(frozen=True, slots=True)
class AskedVariable:
    name: str
    title: str
    start: ParamValue
    is_switch: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """``suggested``: titles of the open faults that it is for. ``what``: a source text."""

    name: str
    title: str
    symptom: str
    what: str
    suggested: Sequence[str]
    asked: Sequence[AskedVariable]


@dataclass(frozen=True, slots=True)
class StepRow:
    """``codes``: titles of what was found. ``awaits``: an approver has to allow it."""

    title: str
    state: Shape
    is_going: bool
    at: Moment | None
    run: str  # id of the execution, or empty
    codes: Sequence[str]
    awaits: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended. ``why`` and ``whom``: source texts, or empty; ``say`` and ``parts`` are translated."""

    shape: Shape
    say: str
    parts: Sequence[str]
    whom: str
    why: str
    code: str


@dataclass(frozen=True, slots=True)
class WalkView:
    id: str
    title: str
    device_id: str
    state: Shape
    is_open: bool
    is_cancelling: bool
    started_by: str
    started_at: Moment | None
    ends_by: Moment | None
    steps: Sequence[StepRow]
    outcome: Ending | None


def offer(offered: Offered, calendar: Calendar) -> Offer:
    playbook = offered.playbook
    asked = [one for one in playbook.variables if one.asked]
    return Offer(
        name=playbook.name,
        title=pick(playbook.title, calendar),
        symptom=calendar.language.pick(playbook.symptom.zh, playbook.symptom.en),
        what=CLASSES[int(offered.danger_class)],
        suggested=[code_text(code, calendar.language).title for code in offered.suggested_by],
        asked=[
            AskedVariable(one.name, pick(one.title, calendar), one.start, isinstance(one.start, bool)) for one in asked
        ],
    )


def walk_view(read: RunRead, executions: Mapping[str, Execution], calendar: Calendar) -> WalkView:
    row = read.row
    playbook = definition_of(row)
    outcome = None if row.is_open else _outcome(row, playbook, calendar)
    going = CANCELLING if row.cancel_asked_at is not None else WALKING
    return WalkView(
        id=row.id,
        title=pick(playbook.title, calendar),
        device_id=row.device_id,
        state=going if outcome is None else outcome.shape,
        is_open=row.is_open,
        is_cancelling=row.cancel_asked_at is not None,
        started_by=row.started_by,
        started_at=calendar.at(row.started_at),
        ends_by=calendar.at(read.ends_by),
        steps=[_step(one, playbook, executions, calendar) for one in read.steps],
        outcome=outcome,
    )


def _step(row: PlaybookStep, playbook: Playbook, executions: Mapping[str, Execution], calendar: Calendar) -> StepRow:
    step = playbook.step(row.step)
    execution = None if row.execution_id is None else executions.get(row.execution_id)
    return StepRow(
        title=row.step if step is None else pick(step.title, calendar),
        state=_step_state(row, execution),
        is_going=row.ended_at is None,
        at=calendar.at(row.begun_at),
        run=row.execution_id or "",
        codes=[code_text(code, calendar.language).title for code in (row.heard or {}).get("codes", [])],
        awaits=execution is not None and execution.state == ExecutionState.AWAITING_APPROVAL,
    )


def _step_state(row: PlaybookStep, execution: Execution | None) -> Shape:
    verdict = (row.heard or {}).get("verdict")
    if verdict is not None:
        return OUTCOMES[Outcome(verdict)]
    if execution is not None:
        return shape_of(execution, ActionKind(execution.kind))
    return WAITING if row.ended_at is None else WAITED


def _outcome(row: PlaybookRun, playbook: Playbook, calendar: Calendar) -> Ending:
    end = playbook.end(row.end_name)
    if end is None:
        return Ending(STOPPED, "", (), "", WHY.get(row.why, row.why), row.code)
    return Ending(
        shape=ENDS[end.kind],
        say=calendar.language.pick(end.say.zh, end.say.en),
        parts=_parts(end, calendar),
        whom="" if end.to is None else WHOM[end.to],
        why="",
        code="",
    )


def _parts(end: End, calendar: Calendar) -> list[str]:
    if end.kind is not EndKind.TECHNICIAN:
        return []
    causes = faults.load().causes.values()
    names = {en: zh for cause in causes for en, zh in zip(cause.fix.parts, cause.fix.parts_zh, strict=True)}
    return [calendar.language.pick(names.get(part, part), part) for part in end.parts]
