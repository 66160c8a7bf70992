"""Walks a playbook on a virtual device by the rule that the server walks by, and tells each step as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from protocol.parameters import ParamValue
from protocol.playbooks.hearing import Told, heard_of
from protocol.playbooks.language import Playbook, Step
from protocol.playbooks.timing import Begin, Finish, Hold, PassOn, Present, Walk, next_order
from protocol.playbooks.walking import UNSUPPORTED, Heard, Over, Taken, Todo
from simulators.dry_run.virtual_device import VirtualDevice
from simulators.errors import SimulatorError


class NotForDevice(SimulatorError):
    code = "playbook_not_for_device"


@dataclass(frozen=True, slots=True)
class Stepped:
    """``heard`` is None of a wait. ``at_s``: seconds since the begin of the walk."""

    at_s: float
    step: Step
    params: Mapping[str, ParamValue]
    heard: Heard | None


@dataclass(frozen=True, slots=True)
class Ended:
    at_s: float
    over: Over


def dry_run(playbook: Playbook, device: VirtualDevice, given: Mapping[str, ParamValue]) -> Iterator[Stepped | Ended]:
    """Raises `NotForDevice` when the device does not declare what the first step does."""
    first = playbook.steps[0]
    if first.kind is not None and first.action not in device.actions:
        raise NotForDevice(f"{playbook.name} begins with {first.action}, which {device.family} does not have")
    walk = Walk(device.elapsed_s, given)
    while not isinstance(order := next_order(playbook, walk, device.elapsed_s), Finish):
        match order:
            case Begin(todo) if todo.step.kind is not None:
                heard = _done(device, todo)
                walk = replace(walk, taken=[*walk.taken, Taken(todo.step.name, heard)])
                yield Stepped(device.elapsed_s - walk.begun_s, todo.step, todo.params, heard)
            case Begin(todo):
                walk = replace(walk, present=Present(todo.step.name, device.elapsed_s))
                yield Stepped(device.elapsed_s - walk.begun_s, todo.step, {}, None)
            case Hold(float() as until_s):
                device.clock.now_s += max(until_s - device.elapsed_s, 0.001)
            case PassOn(name):
                walk = replace(walk, taken=[*walk.taken, Taken(name, None)], present=None)
    yield Ended(device.elapsed_s - walk.begun_s, order.over)


def _done(device: VirtualDevice, todo: Todo) -> Heard:
    """What the device does not have is not asked for, as the server does not."""
    step = todo.step
    action = device.actions.get(step.action)
    if action is None:
        return UNSUPPORTED
    last, verdicts = device.perform(step.action, todo.params, skip_if_passing=step.because is None)
    told = [Told(one.phase, one.item, one.outcome, tuple(one.codes), one.value) for one in verdicts]
    heard = heard_of(action.kind, last.state, last.code, last.outcome, told)
    if heard is None:
        raise ValueError(f"expected an end of {step.action}, came {last.state}")
    return heard
