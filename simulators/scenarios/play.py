"""Plays a scenario: on virtual time with what the agent reports recorded, or into a running demo in real time."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from protocol.records import Record
from simulators.scenarios.scenario_file import Scenario
from simulators.scenarios.story import Story
from simulators.scenarios.timeline import Happening, timeline_of

_MILESTONES: Final = 10
# How far a paced virtual run goes at once, in real seconds.
_STEP_S: Final = 0.2


class Stage(Protocol):
    """Where a scenario is played."""

    def advance_to(self, at_s: float) -> None: ...
    def apply(self, happening: Happening) -> None: ...


@dataclass(slots=True)
class Pace:
    """``speed``: scenario seconds a real second; None as fast as the machine can."""

    speed: float | None
    began_s: float

    def steps(self, from_s: float, to_s: float) -> list[float]:
        """The moments at which to hold between two moments of the scenario, the last included."""
        if self.speed is None:
            return [to_s]
        step_s = _STEP_S * self.speed
        count = int(max(to_s - from_s, 0.0) / step_s)
        return [*(from_s + step_s * number for number in range(1, count + 1)), to_s]

    def hold(self, at_s: float) -> None:
        if self.speed is not None:
            time.sleep(max(self.began_s + at_s / self.speed - time.monotonic(), 0.0))


def play(scenario: Scenario, seed: int, stage: Stage, story: Story, pace: Pace) -> list[str]:
    """Plays to the end; answers the promises that were not kept."""
    happenings = timeline_of(scenario, seed)
    story.began(scenario.title.zh, scenario.title.en, [one.key for one in scenario.devices], seed)
    milestones = [scenario.lasts_s * number / _MILESTONES for number in range(1, _MILESTONES + 1)]
    present_s = 0.0
    for at_s, happening in _in_order(happenings, milestones):
        for step_s in pace.steps(present_s, at_s):
            stage.advance_to(step_s)
            pace.hold(step_s)
        present_s = at_s
        if happening is None:
            story.progress(at_s, round(100 * at_s / scenario.lasts_s))
        else:
            story.happened(happening)
            stage.apply(happening)
    missing = story.missing(happenings)
    story.ended(scenario.lasts_s, time.monotonic() - pace.began_s, missing)
    return missing


def play_recorded(scenario: Scenario, seed: int, story: Story, speed: float | None = None) -> list[str]:
    """On virtual time: the real agent core and drivers, no process, no waiting unless ``speed`` asks for it."""
    from simulators.scenarios.virtual_bench import VirtualBench

    benches: list[VirtualBench] = []

    def take(record: Record) -> None:
        bench = benches[0]
        story.reported(bench.elapsed_s, bench.device_key(record.device), record.body)

    with (
        tempfile.TemporaryDirectory(prefix="tillmedic-") as folder,
        closing(VirtualBench(scenario, seed, Path(folder), take)) as bench,
    ):
        benches.append(bench)
        return play(scenario, seed, bench, story, Pace(speed, time.monotonic()))


def play_into_demo(scenario: Scenario, seed: int, story: Story, data: Path, speed: float = 1.0) -> list[str]:
    """In real time on a running demo's devices; what is told is what its server knows."""
    from simulators.scenarios.demo_stage import DemoStage

    stage = DemoStage(data, [one.key for one in scenario.devices], story)
    return play(scenario, seed, stage, story, Pace(speed, time.monotonic()))


def _in_order(happenings: list[Happening], milestones: list[float]) -> list[tuple[float, Happening | None]]:
    """Happenings go before a milestone of the same moment."""
    both: list[tuple[float, Happening | None]] = [(one.at_s, one) for one in happenings]
    both += [(at_s, None) for at_s in milestones]
    return sorted(both, key=lambda each: (each[0], each[1] is None))
