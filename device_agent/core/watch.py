"""One device under watch: its health samples, its faults, and whether it answers.

Invariant: open faults are written down in the same commit as their raising or clearing, so a restart forgets none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from device_agent.actions import Definition
from device_agent.core.effects import Noticed, Polled
from device_agent.core.fault_tracker import CodeRule, FaultTracker, OpenFault
from device_agent.core.instant import Instant, earliest
from device_agent.core.sampler import Follow, Pace, Sampler
from protocol.catalogue import codes, metrics
from protocol.catalogue.sides import Side
from protocol.catalogue.vocabulary import TerminalClass
from protocol.codec import UNREADABLE
from protocol.identifiers import DeviceId
from protocol.records import RecordBody, Sample, Severity

_CLASSES = {member.value: member for member in TerminalClass}
_open_faults = msgspec.json.Decoder(dict[str, OpenFault])


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """``line`` is empty for the link itself. ``definitions``: what may be asked of it."""

    device: DeviceId
    family: str
    terminal_class: str
    definitions: Mapping[str, Definition]
    line: str = ""
    metrics: tuple[str, ...] = ()
    model: str = ""


class Watch:
    def __init__(self, spec: DeviceSpec, pace: Pace, stored_faults: str | None, now: Instant) -> None:
        self.spec = spec
        self.alive: bool | None = None
        self.sampler = Sampler(pace, side_by_class(spec.terminal_class))
        self.faults = FaultTracker(code_rule)
        self._stored = stored_faults or "{}"
        self.faults.restore(_decoded(self._stored), now)

    @property
    def fact_name(self) -> str:
        return f"faults/{self.spec.device}"

    def on_polled(self, polled: Polled, own: Mapping[str, Sample], now: Instant) -> list[RecordBody]:
        """``own``: what the agent knows of itself, reported as part of the link's own device."""
        self.alive = polled.alive
        readings: dict[str, Any] = {**polled.readings, **own}
        bodies: list[RecordBody] = []
        if readings:
            bodies += self.sampler.on_readings(readings, now)
        else:
            self.sampler.on_silent()
        if polled.alive:
            return [*bodies, *self.faults.on_signs(polled.signs, now, untold=polled.untold)]
        return [*bodies, *self.faults.on_silent(polled.signs, now)]

    def on_noticed(self, noticed: Noticed, now: Instant) -> list[RecordBody]:
        return [*self.faults.on_noticed(noticed.signs, now), *self.faults.on_ended(noticed.ended, now)]

    def on_tick(self, now: Instant) -> list[RecordBody]:
        return [*self.sampler.on_tick(now), *self.faults.on_tick(now)]

    def next_due_ns(self) -> int | None:
        return earliest(self.sampler.next_due_ns(), self.faults.next_due_ns())

    def changed_faults(self) -> str | None:
        """The open faults to write down, when they are others than before."""
        text = msgspec.json.encode(self.faults.open_faults()).decode()
        if text == self._stored:
            return None
        self._stored = text
        return text


def _decoded(text: str) -> dict[str, OpenFault]:
    try:
        return _open_faults.decode(text)
    except UNREADABLE:
        return {}


@cache
def code_rule(code: str) -> CodeRule:
    meaning = codes.get(code)
    if meaning is None:
        return CodeRule()
    return CodeRule(Severity(meaning.severity.value), meaning.visible_after_s)


def side_by_class(terminal_class: str) -> Follow:
    of_class = _CLASSES[terminal_class]

    def follow(name: str, before: Side | None, value: Sample, at_ms: int) -> Side | None:
        metric = metrics.get(name)
        return None if metric is None else metric.follow(before, value, of_class, at_ms)

    return follow
