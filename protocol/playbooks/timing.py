"""What whoever walks does next: begin a step, wait, give a step up, end. Pure; seconds of any one clock.

A step that was begun is never begun again: its end is waited for, whatever it takes to learn it, for the ledger of
executions ends each in time. Only then is a walk over that was cancelled or ran out of time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from protocol.parameters import ParamValue
from protocol.playbooks.language import Playbook
from protocol.playbooks.walking import Over, Taken, Todo, WalkBroken, Why, follow


@dataclass(frozen=True, slots=True)
class Present:
    """The step that was begun and is not over. ``is_stopping``: its execution was told to end."""

    step: str
    begun_s: float
    is_stopping: bool = False


@dataclass(frozen=True, slots=True)
class Walk:
    """``given``: variables as set by whoever started it."""

    begun_s: float
    given: Mapping[str, ParamValue] = field(default_factory=dict)
    taken: Sequence[Taken] = ()
    present: Present | None = None
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Begin:
    todo: Todo


@dataclass(frozen=True, slots=True)
class PassOn:
    """The wait is over: it becomes a step taken."""

    step: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The present step's execution is to be told to end."""

    step: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing to do before ``until_s``, unless the present step ends; None: only then."""

    until_s: float | None


@dataclass(frozen=True, slots=True)
class Finish:
    over: Over


Order = Begin | PassOn | GiveUp | Hold | Finish


def next_order(playbook: Playbook, walk: Walk, now_s: float) -> Order:
    """Raises `WalkBroken` when ``walk`` is none of this playbook."""
    ends_s = walk.begun_s + playbook.longest_s
    place = follow(playbook, walk.given, walk.taken)
    halted = Why.CANCELLED if walk.is_cancelled else Why.EXPIRED if now_s >= ends_s else None
    if walk.present is not None:
        return _of_present(playbook, walk.present, place, halted, ends_s, now_s)
    if isinstance(place, Over) and (place.end is not None or halted is None):
        return Finish(place)
    if halted is not None:
        return Finish(Over(None, halted, place.variables))
    return Finish(place) if isinstance(place, Over) else Begin(place)


def _of_present(
    playbook: Playbook, present: Present, place: Todo | Over, halted: Why | None, ends_s: float, now_s: float
) -> Order:
    if isinstance(place, Over) or place.step.name != present.step:
        raise WalkBroken(f"{playbook.name}: step {present.step!r} is not the one that comes next")
    step = place.step
    over_s = present.begun_s + step.longest_s
    if step.wait_s is not None:
        if halted is not None:
            return Finish(Over(None, halted, place.variables))
        return PassOn(step.name) if now_s >= over_s else Hold(min(over_s, ends_s))
    if present.is_stopping:
        return Hold(None)
    return GiveUp(step.name) if halted is not None or now_s >= over_s else Hold(min(over_s, ends_s))
