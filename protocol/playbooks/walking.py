"""Where a walk stands: from the definition, what was given at its start, and what each step came to. Pure.

A rule that names neither verdict nor result says nothing of a step that could not be done, or whose check could not
tell: such a step ends the walk undecided unless a rule names just that. So no silence is taken for a finding.

Invariants: the same things known give the same order; a walk has at most the sum of all ``times`` steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from protocol.executions import Result
from protocol.parameters import ParamValue
from protocol.playbooks.language import End, Playbook, Rule, Step, Use, When, same_type
from protocol.records import Outcome

# Results of a step that happened and could be told.
_TOLD = frozenset({Result.RAN, Result.FIXED, Result.NOT_FIXED, Result.NOT_NEEDED, Result.CAME_BACK})


@dataclass(frozen=True, slots=True)
class Heard:
    """What a step came to. ``items`` and ``values``: by item of its last findings."""

    result: Result
    verdict: Outcome | None = None
    codes: frozenset[str] = frozenset()
    items: Mapping[str, Outcome] = field(default_factory=dict)
    values: Mapping[str, ParamValue] = field(default_factory=dict)

    @property
    def is_told(self) -> bool:
        return self.result in _TOLD and self.verdict is not Outcome.ERROR


# Of a step that a device does not have: it is not asked.
UNSUPPORTED = Heard(Result.RAN, Outcome.UNSUPPORTED)


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that is over. ``heard`` is None of a wait."""

    step: str
    heard: Heard | None


@dataclass(frozen=True, slots=True)
class Todo:
    """The next step, with its parameters as they are sent."""

    step: Step
    params: Mapping[str, ParamValue]
    variables: Mapping[str, ParamValue]


class Why(StrEnum):
    """Why a walk is over without one of its playbook's ends."""

    NOT_TOLD = "not_told"  # a step could not be done, or told nothing
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # the walk's own time was up


@dataclass(frozen=True, slots=True)
class Over:
    """One of the playbook's ends, or why none was reached."""

    end: End | None
    why: Why | None
    variables: Mapping[str, ParamValue]


class WalkBroken(ValueError):
    """What is said to have been done is no walk of this playbook."""

    code = "walk_broken"


def follow(playbook: Playbook, given: Mapping[str, ParamValue], taken: Sequence[Taken]) -> Todo | Over:
    """Raises `WalkBroken` when ``taken`` is no walk of this playbook."""
    variables = {one.name: one.start for one in playbook.variables} | dict(given)
    done: Counter[str] = Counter()
    place: Todo | Over = _arrive(playbook, playbook.steps[0].name, done, variables)
    for one in taken:
        if isinstance(place, Over) or place.step.name != one.step:
            raise WalkBroken(f"{playbook.name}: step {one.step!r} does not come after {sum(done.values())} steps")
        done[one.step] += 1
        place = _leave(playbook, place.step, one.heard, done, variables)
    return place


def _leave(
    playbook: Playbook, step: Step, heard: Heard | None, done: Counter[str], variables: dict[str, ParamValue]
) -> Todo | Over:
    for variable, item in step.keep.items():
        value = None if heard is None else heard.values.get(item)
        if value is not None and same_type(variables[variable], value):
            variables[variable] = value
    rule = next((one for one in step.then if _applies(one, heard, variables)), None)
    if rule is None:
        return Over(None, Why.NOT_TOLD, dict(variables))
    variables.update(rule.set)
    return _arrive(playbook, rule.go, done, variables)


def _arrive(playbook: Playbook, name: str, done: Counter[str], variables: dict[str, ParamValue]) -> Todo | Over:
    step = playbook.step(name)
    while step is not None and done[step.name] >= step.times:
        if step.spent is None:
            raise WalkBroken(f"{playbook.name}: step {step.name!r} is come back to and has no 'spent'")
        name = step.spent
        step = playbook.step(name)
    if step is not None:
        return Todo(step, _filled(step, variables), dict(variables))
    end = playbook.end(name)
    if end is None:
        raise WalkBroken(f"{playbook.name}: there is no step or end {name!r}")
    return Over(end, None, dict(variables))


def _filled(step: Step, variables: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    return {name: variables[one.variable] if isinstance(one, Use) else one for name, one in step.params.items()}


def _applies(rule: Rule, heard: Heard | None, variables: Mapping[str, ParamValue]) -> bool:
    when = rule.when
    if heard is not None and not heard.is_told and not _names(when, heard):
        return False
    return when is None or (_of_device(when, heard) and _of_variables(when, variables))


def _names(when: When | None, heard: Heard) -> bool:
    """Whether the rule is about just what could not be told."""
    if when is None:
        return False
    return heard.result in when.result or (heard.result is Result.RAN and heard.verdict in when.verdict)


def _of_device(when: When, heard: Heard | None) -> bool:
    if heard is None:
        return not when.tells_of_device
    return (
        (not when.verdict or heard.verdict in when.verdict)
        and (not when.result or heard.result in when.result)
        and (not when.code or not heard.codes.isdisjoint(when.code))
        and all(heard.items.get(item) in outcomes for item, outcomes in when.items.items())
    )


def _of_variables(when: When, variables: Mapping[str, ParamValue]) -> bool:
    among = all(
        any(same_type(variables[name], one) and variables[name] == one for one in allowed)
        for name, allowed in when.variables.items()
    )
    above = all(_number(variables[name]) > limit for name, limit in when.above.items())
    return among and above and all(_number(variables[name]) < limit for name, limit in when.below.items())


def _number(value: ParamValue) -> float:
    """Not a number compares with nothing."""
    return float("nan") if isinstance(value, str | bool) else float(value)
