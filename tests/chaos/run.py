"""One run: a world, a plan carried out on it, a drain, and the verdict."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Final

import msgspec
from sqlalchemy.exc import DBAPIError

from simulators.api import ApiClient, ServerRefused
from tests.chaos.checker import Verdict, Violation, check, check_promises
from tests.chaos.database import read_all, read_promises
from tests.chaos.history import History
from tests.chaos.nemesis import CommandFailed, Nemesis
from tests.chaos.plan import Plan
from tests.chaos.site import Site
from tests.chaos.world import World

# After the last fault.
DRAINED_WITHIN_S: Final = 60.0
_TICK_S: Final = 0.02
_PROMISES_EVERY_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.5
_ON_ITS_WAY_S: Final = 5.0
_ASK_EVERY_S: Final = 1.0


class Phases(msgspec.Struct):
    """Where the time of a run went, in seconds, one phase after the other: the copy of the world; its start, until each
    agent was heard; feeding and faults, until the end of the last one; until all was there, every execution had ended
    and it was held against the accounts; the end of all processes.
    """

    furnish: float = 0.0
    start: float = 0.0
    faults: float = 0.0
    drain: float = 0.0
    stop: float = 0.0

    @property
    def together(self) -> float:
        return self.furnish + self.start + self.faults + self.drain + self.stop


@dataclass(slots=True)
class Outcome:
    plan: Plan
    verdict: Verdict = field(default_factory=Verdict)
    phases: Phases = field(default_factory=Phases)
    executions: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return not self.verdict.violations


def carry_out(site: Site, plan: Plan, *, ingest_module: str = "fleet_server") -> Outcome:
    """Raises `SiteUnusable` when the world could not be made: that is no verdict."""
    site.prepare(plan.database)
    outcome = Outcome(plan)
    lap = _Laps().lap
    world = World(site, plan, ingest_module)
    outcome.phases.furnish = lap()
    asker = _Asker(world.api, world.links, plan.seed)
    nemesis = Nemesis(world, plan, site.cannot())
    try:
        world.start()
        outcome.phases.start = lap()
        world.begin()
        asker.start()
        _observe(world, nemesis, asker, outcome)
    except CommandFailed as error:
        outcome.verdict.violations.append(Violation("command", "server", str(error)))
    finally:
        nemesis.give_up()
        asker.stop()
        outcome.left_out = {step.fault.value: site.cannot()[step.fault] for step in nemesis.left_out}
        outcome.notes = {process.name: process.starts for process in world.processes()}
        outcome.executions = asker.asked
        outcome.phases.faults = nemesis.last_end_s
        outcome.phases.drain = lap() - nemesis.last_end_s
        world.stop()
        outcome.phases.stop = lap()
    return outcome


class _Laps:
    """``lap``: seconds since the last one."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def lap(self) -> float:
        before_s, self._last_s = self._last_s, time.monotonic()
        return self._last_s - before_s


def _observe(world: World, nemesis: Nemesis, asker: _Asker, outcome: Outcome) -> None:
    began_s = time.monotonic()
    look_at_s = promises_at_s = 0.0
    while True:
        now_s = time.monotonic() - began_s
        nemesis.tick(now_s)
        world.tick()
        is_late = nemesis.is_over and now_s > nemesis.last_end_s + DRAINED_WITHIN_S
        if now_s >= promises_at_s:
            if broken := _broken_promises(world, nemesis):
                outcome.verdict.violations += broken
                return
            promises_at_s = now_s + _PROMISES_EVERY_S
        if now_s >= look_at_s or is_late:
            look_at_s = now_s + _LOOK_EVERY_S
            if nemesis.is_over and (is_late or all(one.is_fed for one in world.histories())):
                asker.rest()
                if _is_settled(world, outcome, is_late=is_late, is_set_back=nemesis.is_set_back):
                    return
        time.sleep(_TICK_S)


def _is_settled(world: World, outcome: Outcome, *, is_late: bool, is_set_back: bool) -> bool:
    """Whether there is nothing left to wait for. What is wrong for good is seen when it is too late."""
    if not is_late and not all(history.is_drained for history in world.histories()):
        return False
    before = [history.snapshot() for history in world.histories()]
    # Agents live and speak: what they have just made is still on its way.
    waiting = _not_heard(world, before) if is_late else []
    try:
        stored = read_all(world.database_url)
    except DBAPIError as error:
        if is_late:
            outcome.verdict.violations.append(Violation("lost", "server", f"the database is away: {error}"[:300]))
        return is_late
    outcome.verdict = check(before, stored, world.histories(), is_set_back=is_set_back)
    outcome.verdict.add("not_drained", "agents", waiting)
    return is_late or outcome.is_good


def _not_heard(world: World, before: list[History]) -> list[str]:
    give_up_at = time.monotonic() + _ON_ITS_WAY_S
    while True:
        pairs = zip(before, world.histories(), strict=True)
        waiting = [then.link for then, now in pairs if not (now.is_fed and now.has_heard_of(then))]
        if not waiting or time.monotonic() > give_up_at:
            return waiting
        world.tick()
        time.sleep(_LOOK_EVERY_S)


def _broken_promises(world: World, nemesis: Nemesis) -> list[Violation]:
    """None are made by a database that was set back, until its agents have heard of it."""
    if nemesis.is_set_back or world.is_database_held:
        return []
    before = world.histories()
    try:
        return check_promises(before, read_promises(world.database_url))
    except DBAPIError:
        return []  # It is away, as planned.


class _Asker:
    """Somebody who asks for a check now and then, whatever happens."""

    def __init__(self, api: ApiClient, links: list[str], seed: int) -> None:
        self._api = api
        self._links = links
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)
        self.asked = 0

    def start(self) -> None:
        self._thread.start()

    def rest(self) -> None:
        self._stop.set()

    def stop(self) -> None:
        self.rest()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_ASK_EVERY_S):
            wish = {"device": self._chance.choice(self._links), "action": "agent.echo", "params": {}}
            try:
                self._api.post("/api/v1/executions", wish)
            except (ServerRefused, OSError, ValueError):
                continue  # The API is away, or its database.
            self.asked += 1
