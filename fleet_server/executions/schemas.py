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


class ExecutionRead(Answer):
    """``state`` is how far it came, ``verdict`` what it found: a check that ran has succeeded whatever it found."""

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
    code: str
    detail: str
    progress: ProgressRead
    steps: list[StepRead]
    output_tail: str
    actor: str
    override_reason: str | None
    attempt: int
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


class ExecutionDetail(ExecutionRead):
    results: list[ResultRead]


_AS_THEY_ARE = (
    "id",
    "action",
    "kind",
    "danger_class",
    "params",
    "state",
    "is_final",
    "code",
    "detail",
    "output_tail",
    "actor",
    "override_reason",
    "attempt",
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
)


def execution_read(row: Execution) -> ExecutionRead:
    return ExecutionRead(**_fields(row))


def execution_detail(row: Execution, events: Sequence[Event]) -> ExecutionDetail:
    results = [_result(event) for event in events if event.type == "verdict"]
    return ExecutionDetail(**_fields(row), results=results)


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


def _result(event: Event) -> ResultRead:
    names = ("phase", "item", "outcome", "value", "unit", "limits", "evidence", "codes", "duration_ms")
    return ResultRead(at=event.at, **{name: event.data[name] for name in names})
