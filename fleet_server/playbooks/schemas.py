"""HTTP shapes of playbooks and their walks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from pydantic import Field

from fleet_server.executions.schemas import ParamIn
from fleet_server.kit.schemas import Answer, Asked, Moment, Words
from fleet_server.playbooks.models import PlaybookStep
from fleet_server.playbooks.service import Offered, RunRead
from fleet_server.playbooks.taking import definition_of
from protocol import parameters
from protocol.playbooks.language import End, Playbook, Said, Step


class PlaybookRunAsked(Asked):
    """``variables``: those that the playbook asks for, by name."""

    device: Annotated[str, Field(min_length=1, max_length=64)]
    playbook: Annotated[str, Field(min_length=1, max_length=48)]
    variables: Annotated[
        dict[Annotated[str, Field(max_length=32)], ParamIn], Field(default_factory=dict, max_length=16)
    ]


class VariableRead(Answer):
    name: str
    title: Words
    start: bool | int | float | str


class PlaybookRead(Answer):
    """``codes``: open faults that suggest it. ``variables``: those that may be given when it is started."""

    name: str
    version: int
    title: Words
    symptom: Words
    actions: list[str]
    codes: list[str]
    causes: list[str]
    variables: list[VariableRead]
    longest_s: int


class PlaybooksRead(Answer):
    items: list[PlaybookRead]


class PlaybookDetail(PlaybookRead):
    """``definition``: the whole of it, as `docs/playbooks.md` describes it."""

    definition: dict[str, Any]


class OfferedRead(Answer):
    """``suggested_by``: codes of the device's open faults that it is for. ``danger_class``: the highest of a step."""

    playbook: PlaybookRead
    danger_class: int
    suggested_by: list[str]


class OfferedListRead(Answer):
    items: list[OfferedRead]


class EndRead(Answer):
    """``as``: fixed, nothing_wrong, technician, handover, undecided. ``parts``: what a technician brings."""

    name: str
    kind: str = Field(serialization_alias="as")
    say: Words
    cause: str
    parts: list[str]
    to: str | None


class PlaybookStepRead(Answer):
    """``result`` and what was found stand there once it is over. ``execution``: null of a wait, and of what the device
    does not have.
    """

    number: int
    name: str
    title: Words
    action: str
    execution: str | None
    begun_at: Moment
    ended_at: Moment | None
    result: str | None
    verdict: str | None
    codes: list[str]


class PlaybookRunRead(Answer):
    """``state``: walking, cancelling, over. ``why``: of a walk that reached none of its ends: not_told, cancelled,
    expired, refused (with ``code``), requester_gone.
    """

    id: str
    device: str
    playbook: str
    version: int
    title: Words
    state: str
    danger_class: int
    variables: dict[str, bool | int | float | str]
    started_by: str
    started_at: Moment
    ends_by: Moment
    ended_at: Moment | None
    end: EndRead | None
    why: str
    code: str


class GrantRead(Answer):
    action: str
    params: dict[str, bool | int | float | str]


class PlaybookRunDetail(PlaybookRunRead):
    """``grants``: each change that its steps may come to, with just those parameters; ``uses``: at most so many. A
    shift permit of them for this device allows the whole walk at once.
    """

    steps: list[PlaybookStepRead]
    grants: list[GrantRead]
    uses: int


def playbook_read(playbook: Playbook) -> PlaybookRead:
    return PlaybookRead(**_fields(playbook))


def playbook_detail(playbook: Playbook) -> PlaybookDetail:
    return PlaybookDetail(**_fields(playbook), definition=msgspec.to_builtins(playbook))


def offered_read(offered: Offered) -> OfferedRead:
    return OfferedRead(
        playbook=playbook_read(offered.playbook),
        danger_class=int(offered.danger_class),
        suggested_by=list(offered.suggested_by),
    )


def run_read(read: RunRead) -> PlaybookRunRead:
    return PlaybookRunRead(**_run_fields(read, definition_of(read.row)))


def run_detail(read: RunRead) -> PlaybookRunDetail:
    playbook = definition_of(read.row)
    steps = {one.name: one for one in playbook.steps}
    return PlaybookRunDetail(
        **_run_fields(read, playbook),
        steps=[_step_read(one, steps) for one in read.steps],
        grants=[GrantRead(action=one.action, params=one.params or {}) for one in read.grants],
        uses=read.uses,
    )


def _fields(playbook: Playbook) -> dict[str, Any]:
    asked = [one for one in playbook.variables if one.asked]
    return {
        "name": playbook.name,
        "version": playbook.version,
        "title": _words(playbook.title),
        "symptom": _words(playbook.symptom),
        "actions": list(playbook.actions),
        "codes": playbook.codes,
        "causes": playbook.causes,
        "variables": [VariableRead(name=one.name, title=_words(one.title), start=one.start) for one in asked],
        "longest_s": playbook.longest_s,
    }


def _run_fields(read: RunRead, playbook: Playbook) -> dict[str, Any]:
    row = read.row
    end = playbook.end(row.end_name)
    going = "walking" if row.cancel_asked_at is None else "cancelling"
    return {
        "id": row.id,
        "device": row.device_id,
        "playbook": row.playbook,
        "version": row.version,
        "title": _words(playbook.title),
        "state": going if row.is_open else "over",
        "danger_class": row.danger_class,
        "variables": row.given,
        "started_by": row.started_by,
        "started_at": row.started_at,
        "ends_by": read.ends_by,
        "ended_at": row.ended_at,
        "end": None if end is None else _end_read(end),
        "why": row.why,
        "code": row.code,
    }


def _end_read(end: End) -> EndRead:
    return EndRead(name=end.name, kind=end.kind.value, say=_words(end.say), cause=end.cause, parts=end.parts, to=end.to)


def _step_read(row: PlaybookStep, steps: Mapping[str, Step]) -> PlaybookStepRead:
    heard = row.heard or {}
    return PlaybookStepRead(
        number=row.number,
        name=row.step,
        title=_words(steps[row.step].title),
        action=row.action,
        execution=row.execution_id,
        begun_at=row.begun_at,
        ended_at=row.ended_at,
        result=heard.get("result"),
        verdict=heard.get("verdict"),
        codes=heard.get("codes", []),
    )


def _words(words: parameters.Words | Said) -> Words:
    return Words(zh=words.zh, en=words.en)
