"""One run on its page: the rail of honest states, results as they came, before and after.

Never more than is known: a fix that ran is not yet proved, and a state that was skipped by the reports has no time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from fleet_server.console.language import N_
from fleet_server.console.moments import Calendar, Moment
from fleet_server.console.view_models.actions import pick
from fleet_server.console.view_models.results import ResultRow, result_row
from fleet_server.console.view_models.timeline import Happening
from fleet_server.console.words import (
    CANCEL_ANSWERS,
    KINDS,
    OUTCOMES,
    OVERRIDDEN_RULES,
    PROVED,
    REASONS,
    STATES,
    Shape,
    known_state,
    state_shape,
)
from fleet_server.executions.models import Execution
from protocol.capabilities import Action
from protocol.commands import ActionKind
from protocol.executions import FINAL, SENDING, ExecutionState, has_reached
from protocol.records import Outcome, Phase

_S = ExecutionState


@dataclass(frozen=True, slots=True)
class Station:
    """A stop on the rail. ``mood``: "" passed, "go" present, "todo" to come, "end" where it ended otherwise."""

    icon: str
    words: str  # source text
    mood: str
    sub: str
    tone: str


@dataclass(frozen=True, slots=True)
class Compared:
    title: str
    before: ResultRow | None
    after: ResultRow | None
    limits: str
    held: str


@dataclass(frozen=True, slots=True)
class StepRow:
    icon: str
    mood: str
    title: str
    mid: str
    value: str


@dataclass(frozen=True, slots=True)
class Asked:
    by: str
    at: Moment | None
    params: list[tuple[str, str]]
    override_reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """Results by the part of the run that they belong to, and the same checks side by side."""

    before: list[ResultRow]
    after: list[ResultRow]
    results: list[ResultRow]
    compared: list[Compared]


@dataclass(frozen=True, slots=True)
class Said:
    """Why it stands where it stands, as the device or the server told. ``reason`` is a source text, or empty."""

    reason: str
    code: str
    detail: str
    output_tail: str
    cancel: str  # source text: the terminal's answer to the wish to end it


@dataclass(frozen=True, slots=True)
class Wait:
    """Why it has not begun, or does not go on, and the first moment at which a clock lets it. Source texts."""

    holds: list[str]
    earliest: Moment | None
    overridden: list[str]


@dataclass(frozen=True, slots=True)
class Late:
    """A word that came after the end."""

    at: Moment | None
    words: str  # source text
    detail: str


@dataclass(frozen=True, slots=True)
class Run:
    id: str
    device_id: str
    title: str
    kind_words: str  # source text
    what: str  # source text
    state: Shape
    outcome: Shape | None
    said: Said
    asked: Asked
    rail: list[Station]
    found: Found
    wait: Wait
    late: list[Late]
    came_back: Moment | None
    replaces: str
    steps: list[StepRow]
    progress_pct: int | None
    expires: Moment | None
    hold_left: str
    is_final: bool
    awaits_approval: bool
    awaits_consent: bool
    is_waiting: bool  # queued: the device has nothing of it yet
    is_proved: bool
    is_cancel_asked: bool
    has_news: bool  # its newest result has just arrived

    @property
    def may_cancel(self) -> bool:
        return not (self.is_final or self.is_cancel_asked)


def run_view(
    execution: Execution,
    events: Sequence[Happening],
    calendar: Calendar,
    titles: Mapping[str, str],
    *,
    has_news: bool = False,
) -> Run:
    """``events`` of this execution, oldest first."""
    state = known_state(execution.state)
    kind = next((one for one in ActionKind if one.value == execution.kind), ActionKind.CHECK)
    declared = declared_action(execution.declared)
    return Run(
        id=execution.id,
        device_id=execution.device_id,
        title=_title(execution, declared, calendar),
        kind_words=KINDS[kind][1],
        what=KINDS[kind][2],
        state=shape_of(execution, kind),
        outcome=_outcome(execution, kind),
        said=_said(execution),
        asked=_asked(execution, calendar),
        rail=_rail(execution, state, kind, calendar),
        found=_found(events, kind, calendar, titles),
        wait=_wait(execution, calendar),
        late=[_late(event, kind, calendar) for event in events if event.data.get("late")],
        came_back=calendar.at(execution.came_back_at),
        replaces=execution.supersedes or "",
        steps=_steps(execution, declared, state, calendar) if kind is ActionKind.FIX else [],
        progress_pct=None if execution.is_final else execution.progress_pct,
        expires=calendar.at(execution.queued_until),
        hold_left=_hold_left(execution, state, calendar),
        is_final=execution.is_final,
        awaits_approval=state is _S.AWAITING_APPROVAL,
        awaits_consent=state is _S.AWAITING_CONSENT,
        is_waiting=state in SENDING,
        is_proved=shape_of(execution, kind) is PROVED,
        is_cancel_asked=not execution.is_final and execution.cancel_asked_at is not None,
        has_news=has_news,
    )


def declared_action(document: Mapping[str, Any]) -> Action | None:
    """None for a declaration of an older version that is not understood any more."""
    try:
        return msgspec.convert(document, Action)
    except msgspec.ValidationError:
        return None


def _title(execution: Execution, declared: Action | None, calendar: Calendar) -> str:
    return execution.action if declared is None else pick(declared.title, calendar)


def _outcome(execution: Execution, kind: ActionKind) -> Shape | None:
    """What a check or test found; what a fix found stands before and after it."""
    outcome = next((one for one in Outcome if one.value == execution.outcome), None)
    return None if outcome is None or kind is ActionKind.FIX else OUTCOMES[outcome]


def shape_of(execution: Execution, kind: ActionKind) -> Shape:
    came_back = execution.came_back_at is not None
    return state_shape(known_state(execution.state), kind, execution.code, came_back=came_back)


def _said(execution: Execution) -> Said:
    answers = {answer.value: words for answer, words in CANCEL_ANSWERS.items()}
    return Said(
        REASONS.get(execution.code, ""),
        execution.code,
        execution.detail,
        execution.output_tail,
        answers.get(execution.cancel_answer or "", ""),
    )


def _wait(execution: Execution, calendar: Calendar) -> Wait:
    holds = [REASONS.get(name, name) for name in execution.holds]
    overridden = [OVERRIDDEN_RULES.get(name, name) for name in execution.overridden]
    return Wait(holds, calendar.at(execution.earliest_start), overridden)


def _late(event: Happening, kind: ActionKind, calendar: Calendar) -> Late:
    shape = state_shape(known_state(str(event.data.get("state"))), kind, str(event.data.get("code", "")))
    return Late(calendar.at(event.at), shape.words, str(event.data.get("detail", "")))


def _asked(execution: Execution, calendar: Calendar) -> Asked:
    params = [(name, str(value)) for name, value in execution.params.items()]
    return Asked(execution.actor, calendar.at(execution.created_at), params, execution.override_reason or "")


def _found(events: Sequence[Happening], kind: ActionKind, calendar: Calendar, titles: Mapping[str, str]) -> Found:
    rows = [result_row(event.data, calendar, titles) for event in events if event.type == "verdict"]
    return Found(
        before=[row for row in rows if row.phase is Phase.PRE_CHECK],
        after=[row for row in rows if row.phase is Phase.POST_CHECK or row.phase is Phase.LATER],
        results=[row for row in rows if row.phase is Phase.RESULT],
        compared=_compared(rows) if kind is ActionKind.FIX else [],
    )


def _rail(execution: Execution, state: ExecutionState, kind: ActionKind, calendar: Calendar) -> list[Station]:
    stops: list[tuple[ExecutionState, str, datetime | None]] = [
        (_S.QUEUED, N_("Queued"), execution.created_at),
        (_S.PUBLISHED, N_("Sent"), execution.published_at),
        (_S.STORED, N_("Stored by the terminal"), execution.stored_at),
        (_S.RUNNING, N_("Ran"), execution.started_at),
    ]
    if kind is ActionKind.FIX:
        stops.append((_S.VERIFYING, N_("Checked"), execution.verifying_at))
    is_final = state in FINAL
    if state is _S.SUCCEEDED:
        reached = len(stops) - 1
    elif is_final:
        reached = _last_reached(execution)
    else:
        reached = max((n for n, stop in enumerate(stops) if has_reached(state, stop[0])), default=0)
    rail = []
    for index, (stop, words, at) in enumerate(stops):
        if index < reached or (index == reached and is_final):
            clock = calendar.clock(at) if at is not None else ""
            rail.append(Station("ok", words, "", clock, "ok"))
        elif index == reached:
            shape = STATES[state]
            rail.append(Station(shape.icon, shape.words, "go", calendar.clock(at) if at else "", "go"))
        elif not is_final:
            rail.append(Station("todo", STATES[stop].words, "todo", "", "todo"))
    rail.append(_end(execution, state, kind, calendar))
    return rail


def _end(execution: Execution, state: ExecutionState, kind: ActionKind, calendar: Calendar) -> Station:
    if state not in FINAL:
        goal = PROVED if kind is ActionKind.FIX else STATES[_S.SUCCEEDED]
        return Station(goal.icon, goal.words, "todo", "", "todo")
    shape = shape_of(execution, kind)
    clock = calendar.clock(execution.finished_at) if execution.finished_at else ""
    return Station(shape.icon, shape.words, "" if state is _S.SUCCEEDED else "end", clock, shape.tone)


def _last_reached(execution: Execution) -> int:
    """For an end that says nothing of how far it came: by the times that were written down."""
    times = (
        execution.created_at,
        execution.published_at,
        execution.stored_at,
        execution.started_at,
        execution.verifying_at,
    )
    last = max(index for index, at in enumerate(times) if at is not None)
    return min(last, 3 if execution.kind != ActionKind.FIX else 4)


def _compared(verdicts: Sequence[ResultRow]) -> list[Compared]:
    """The same checks, before and after. Of repeated checks the first before and the last after count."""
    before: dict[str, ResultRow] = {}
    after: dict[str, list[ResultRow]] = {}
    for row in verdicts:
        if row.phase is Phase.PRE_CHECK:
            before.setdefault(row.item or row.title, row)
        elif row.phase is not Phase.RESULT:
            after.setdefault(row.item or row.title, []).append(row)
    made = []
    for item in [*before, *(item for item in after if item not in before)]:
        then, now = before.get(item), after.get(item, [])
        shown = now[-1] if now else then
        if shown is None:
            continue
        passed = sum(row.shape is OUTCOMES[Outcome.PASS] for row in now)
        held = f"{passed} / {len(now)}" if now else ""
        made.append(Compared(shown.title, then, now[-1] if now else None, shown.limits, held))
    return made


def _steps(execution: Execution, declared: Action | None, state: ExecutionState, calendar: Calendar) -> list[StepRow]:
    """``step_index`` counts the steps that are done; the next one is begun when the device names it."""
    rows = []
    done_all = state is _S.SUCCEEDED or (state not in FINAL and has_reached(state, _S.VERIFYING))
    for index, step in enumerate(declared.steps if declared is not None else []):
        title = pick(step.title, calendar)
        is_begun = index == execution.step_index and step.name == execution.step
        if done_all or index < execution.step_index:
            rows.append(StepRow("ok", "ok", title, "", calendar.texts.gettext("done")))
        elif is_begun and state is _S.RUNNING:
            pct = "" if execution.progress_pct is None else f"{execution.progress_pct}%"
            rows.append(StepRow("run", "go", title, pct, calendar.texts.gettext("running")))
        elif is_begun and state in FINAL:
            rows.append(StepRow("bad", "bad", title, "", calendar.texts.gettext("stopped here")))
        else:
            words = N_("not begun") if state in FINAL else N_("to come")
            rows.append(StepRow("todo", "todo", title, "", calendar.texts.gettext(words)))
    return rows


def _hold_left(execution: Execution, state: ExecutionState, calendar: Calendar) -> str:
    if state is not _S.VERIFYING or execution.hold_until is None:
        return ""
    left = execution.hold_until - calendar.now
    return calendar.span(max(left, timedelta(0)).total_seconds())
