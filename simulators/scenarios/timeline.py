"""A scenario as a list of what happens when: its events, and those that the seed puts where the file leaves it open.

Equal scenarios and seeds give equal lists. A random fault ends with the scenario at the latest; where two of one name
meet on a device, the first mending ends both.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from simulators.scenarios.scenario_file import RandomFaults, Scenario, ScenarioEvent


class Act(Enum):
    BREAK = "break"
    MEND = "mend"
    REBOOT = "reboot"


@dataclass(frozen=True, slots=True)
class Happening:
    """``at_s``: seconds since the scenario began. ``shows``: codes that must be reported after it."""

    at_s: float
    device: str
    act: Act
    fault: str = ""
    shows: tuple[str, ...] = ()


def timeline_of(scenario: Scenario, seed: int) -> list[Happening]:
    dice = random.Random(seed)
    happenings = [_written(event) for event in scenario.events]
    for one in scenario.random:
        happenings += _drawn(one, scenario.lasts_s, dice)
    return sorted(happenings, key=lambda happening: happening.at_s)


def _written(event: ScenarioEvent) -> Happening:
    if event.reboot:
        return Happening(event.at_s, event.device, Act.REBOOT, shows=tuple(event.shows))
    act = Act.BREAK if event.break_ is not None else Act.MEND
    return Happening(event.at_s, event.device, act, event.break_ or event.mend or "", tuple(event.shows))


def _drawn(one: RandomFaults, ends_s: float, dice: random.Random) -> list[Happening]:
    drawn = []
    for _ in range(one.count):
        fault = dice.choice(one.faults)
        at_s = round(dice.uniform(*one.between_s), 1)
        until_s = min(round(at_s + dice.uniform(*one.lasts_s), 1), ends_s)
        drawn += [Happening(at_s, one.device, Act.BREAK, fault), Happening(until_s, one.device, Act.MEND, fault)]
    return drawn
