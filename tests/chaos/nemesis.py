"""Carries out a plan: each fault is a generator that does its harm, says how long to wait, and takes it back.

What is left of a run that is given up is taken back as well.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tests.chaos.plan import AGENT_NAMES, BROKER, Fault, Plan, Step
from tests.chaos.world import World

_LARGEST_PIECE: Final = 1 << 22
_LOOK_EVERY_S: Final = 0.05
_TRIES: Final = 5
_LEAP_EVERY_S: Final = 1.0
# From before 1980 to after 2090.
_LEAP_DAYS: Final = (-50 * 365, 70 * 365)

Deed = Iterator[float]


class CommandFailed(Exception):
    """A command of the product did not do what it is for."""


class Nemesis:
    """``set_back_s``: when the database went to an older state, if it did. Times are from the start of the agents."""

    def __init__(self, world: World, plan: Plan, cannot: Mapping[Fault, str]) -> None:
        self._world = world
        self._ahead = deque(step for step in plan.steps if step.fault not in cannot)
        self.left_out = [step for step in plan.steps if step.fault in cannot]
        self._at_work: list[tuple[float, Step, Deed]] = []
        self._deeds: dict[Fault, Callable[[Step], Deed]] = {
            Fault.KILL: self._kill,
            Fault.STOP: self._stop,
            Fault.AMNESIA: self._amnesia,
            Fault.DISK_FULL: self._fill_disk,
            Fault.CLOCK: self._leap,
            Fault.FAILOVER: self._fail_over,
            Fault.RESTORE: self._restore,
        }
        self.is_set_back = False
        self.last_end_s = 0.0

    @property
    def is_over(self) -> bool:
        return not self._ahead and not self._at_work

    def tick(self, now_s: float) -> None:
        while self._ahead and self._ahead[0].start_s <= now_s:
            step = self._ahead.popleft()
            self._at_work.append((now_s, step, self._deeds.get(step.fault, self._spoil_network)(step)))
        still = []
        for due_s, step, deed in self._at_work:
            if now_s < due_s:
                still.append((due_s, step, deed))
                continue
            wait_s = next(deed, None)
            if wait_s is None:
                self.last_end_s = now_s
            else:
                still.append((now_s + wait_s, step, deed))
        self._at_work = still

    def give_up(self) -> None:
        for _, _, deed in self._at_work:
            deed.close()  # type: ignore[attr-defined]  # they are generators
        self._at_work.clear()
        self._ahead.clear()

    def _kill(self, step: Step) -> Deed:
        victim = self._world.process(step.target)
        victim.hold_down()
        try:
            yield step.for_s
        finally:
            victim.let_up()

    def _stop(self, step: Step) -> Deed:
        victim = self._world.process(step.target)
        victim.hold_still()
        try:
            yield step.for_s
        finally:
            victim.let_go()

    def _amnesia(self, step: Step) -> Deed:
        broker = self._world.process(BROKER)
        broker.hold_down()
        try:
            for file in (self._world.data / "broker" / "state").glob("*"):
                file.unlink()
            yield step.for_s
        finally:
            broker.let_up()

    def _spoil_network(self, step: Step) -> Deed:
        agent = AGENT_NAMES.index(step.target)
        self._world.network.begin(agent, step)
        try:
            yield step.for_s
        finally:
            self._world.network.end(agent, step)

    def _fill_disk(self, step: Step) -> Deed:
        """Something else takes all the room that there is."""
        filler = self._world.disk(step.target) / f"filler-{step.number}"
        try:
            with filler.open("wb") as file:
                take_all_room(file.fileno())
            yield step.for_s
        finally:
            filler.unlink(missing_ok=True)

    def _leap(self, step: Step) -> Deed:
        chance = random.Random(step.seed)
        give_up_at = time.monotonic() + step.for_s
        try:
            while time.monotonic() < give_up_at:
                self._world.set_clock(step.target, days=chance.uniform(*_LEAP_DAYS))
                yield _LEAP_EVERY_S
        finally:
            self._world.set_clock(step.target, days=0.0)

    def _fail_over(self, step: Step) -> Deed:
        cluster = self._world.cluster
        if cluster is None:
            raise CommandFailed("only PostgreSQL has a standby")
        cluster.stall()
        yield step.for_s
        self.is_set_back = True
        cluster.promote()

    def _restore(self, step: Step) -> Deed:
        place = self._world.site.place / "backup"
        yield from self._done(lambda: shutil.rmtree(place, ignore_errors=True), "backup", str(place))
        yield step.for_s
        users = self._world.users_of_the_database()
        for user in users:
            user.hold_down()
        try:
            self.is_set_back = True
            yield from self._done(lambda: None, "restore", str(place))
        finally:
            for user in users:
                user.let_up()

    def _done(self, prepare: Callable[[], object], *words: str) -> Deed:
        """Waits for the command; an operator would try again as well."""
        for _ in range(_TRIES):
            prepare()
            process = self._world.server_command(*words)
            try:
                while process.poll() is None:
                    yield _LOOK_EVERY_S
            except GeneratorExit:
                process.kill()
                process.wait()
                raise
            if process.returncode == 0:
                return
            yield 1.0
        raise CommandFailed(f"fleet-server {words[0]} failed {_TRIES} times, see commands.log")


def take_all_room(handle: int) -> None:
    """The agent writes meanwhile, so that nobody can tell beforehand how much there is."""
    size, piece = 0, _LARGEST_PIECE
    while piece:
        try:
            os.posix_fallocate(handle, size, piece)
            size += piece
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            piece //= 2
