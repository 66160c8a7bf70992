"""HTTP shapes of executions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from fleet_server.executions.models import Execution
from fleet_server.kit.schemas import Answer, Asked, Moment, Words
from fleet_server.timeline.models import Event
from protocol.parameters import MAX_PARAMETERS, MAX_TEXT_CHARS

# Whole numbers that every JSON reader keeps exact.
_WHOLE = Field(ge=-(2**53), le=2**53)
ParamIn = (
    StrictBool
    | Annotated[StrictInt, _WHOLE]
    | Annotated[StrictFloat, Field(allow_inf_nan=False)]
    | Annotated[StrictStr, Field(max_length=MAX_TEXT_CHARS)]
)


class ArtifactAsked(Asked):
    """The target of the software repository that class 2 is about, as its signed metadata names it."""

    path: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
    length: Annotated[StrictInt, Field(ge=1, le=2**40)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ExecutionAsked(Asked):
    """What is to be run on which device; the device's ``capabilities`` say what there is."""

    device: Annotated[str, Field(min_length=1, max_length=64)]
    action: Annotated[str, Field(min_length=1, max_length=100)]
    params: Annotated[
        dict[Annotated[str, Field(max_length=32)], ParamIn], Field(default_factory=dict, max_length=MAX_PARAMETERS)
    ]
    # Why a fix is to run although its pre-check finds nothing wrong; kept in the audit.
    override_reason: Annotated[str | None, Field(min_length=3, max_length=500)] = None
    # Tests and fixes of class 1: the terminal shows or prints six digits, and the merchant reads them out to allow it.
    consent: StrictBool = False
    # Of class 2 only, and needed there: what two approvers are to sign for.
    artifact: ArtifactAsked | None = None
    # An execution of the same device whose place this one takes: ended at once while it waits, else by the device.
    supersedes: Annotated[str | None, Field(min_length=1, max_length=36)] = None
    # Part of something for many devices: one that changes the device is not begun while a freeze is in force.
    planned: StrictBool = False


class ConsentAsked(Asked):
    """The six digits that the terminal shows or prints, as the merchant reads them out."""

    code: Annotated[str, Field(pattern=r"^[0-9]{6}$")]


class StepRead(Answer):
    name: str
    title: Words
    nature: str


class ProgressRead(Answer):
    step: str
    step_index: int
    step_count: int
    pct: int | None


class ResultRead(Answer):
    """One verdict: of the check itself, or of a fix's pre- or post-check."""

    at: Moment
    phase: str
    item: str
    outcome: str
    value: float | int | str | None
    unit: str
    limits: dict[str, float] | None
    evidence: str
    codes: list[str]
    duration_ms: int


class LateRead(Answer):
    """What the device said after the end: evidence, which changes nothing."""

    at: Moment
    state: str
    verdict: str | None
    code: str
    detail: str


class ExecutionRead(Answer):
    """``state`` is how far it came, ``verdict`` what it found: a check that ran has succeeded whatever it found.
    ``result`` says in one word what came of it, ``holds`` what it waits for now.
    """

    id: str
    device: str
    action: str
    title: Words
    kind: str
    danger_class: int
    params: dict[str, Any]
    state: str
    is_final: bool
    verdict: str | None
    result: str | None
    code: str
    detail: str
    holds: list[str]
    earliest_start: Moment | None
    progress: ProgressRead
    steps: list[StepRead]
    output_tail: str
    actor: str
    override_reason: str | None
    override_holds: bool
    overridden: list[str]
    supersedes: str | None
    attempt: int
    retries: int
    created_at: Moment
    queued_until: Moment
    deadline_at: Moment | None
    published_at: Moment | None
    stored_at: Moment | None
    started_at: Moment | None
    verifying_at: Moment | None
    hold_until: Moment | None
    finished_at: Moment | None
    cancel_asked_at: Moment | None
    cancel_asked_by: str
    cancel_answer: str | None
    came_back_at: Moment | None


class ExecutionDetail(ExecutionRead):
    results: list[ResultRead]
    late: list[LateRead]


_AS_THEY_ARE = (
    "id",
    "action",
    "kind",
    "danger_class",
    "params",
    "state",
    "is_final",
    "result",
    "code",
    "detail",
    "holds",
    "earliest_start",
    "output_tail",
    "actor",
    "override_reason",
    "override_holds",
    "overridden",
    "supersedes",
    "attempt",
    "retries",
    "created_at",
    "queued_until",
    "deadline_at",
    "published_at",
    "stored_at",
    "started_at",
    "verifying_at",
    "hold_until",
    "finished_at",
    "cancel_asked_at",
    "cancel_asked_by",
    "cancel_answer",
    "came_back_at",
)


def execution_read(row: Execution) -> ExecutionRead:
    return ExecutionRead(**_fields(row))


def execution_detail(row: Execution, events: Sequence[Event]) -> ExecutionDetail:
    results = [_result(event) for event in events if event.type == "verdict"]
    late = [_late(event) for event in events if event.data.get("late")]
    return ExecutionDetail(**_fields(row), results=results, late=late)


def _fields(row: Execution) -> dict[str, Any]:
    progress = {
        "step": row.step,
        "step_index": row.step_index,
        "step_count": row.step_count,
        "pct": row.progress_pct,
    }
    return {
        **{name: getattr(row, name) for name in _AS_THEY_ARE},
        "device": row.device_id,
        "title": row.declared["title"],
        "steps": row.declared.get("steps", []),
        "verdict": row.outcome,
        "progress": progress,
    }


def _late(event: Event) -> LateRead:
    data = event.data
    return LateRead(at=event.at, state=data["state"], verdict=data["outcome"], code=data["code"], detail=data["detail"])


def _result(event: Event) -> ResultRead:
    names = ("phase", "item", "outcome", "value", "unit", "limits", "evidence", "codes", "duration_ms")
    return ResultRead(at=event.at, **{name: event.data[name] for name in names})
