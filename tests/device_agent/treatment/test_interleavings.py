"""Whatever order trading and fixes come in: no step begins on a terminal where somebody pays, or that has to wait.

``INTERLEAVINGS=100000`` tries so many sequences (`make crash`).
"""

from __future__ import annotations

import os
import random

import pytest

from device_agent.core.effects import Job, JobDone, JobKind
from device_agent.core.hours import Hours
from protocol.safety import NEVER_OVERRIDDEN, Condition, Effect, holding
from tests.device_agent.core.desk import Desk
from tests.device_agent.core.invented import FAIL

COUNT = int(os.environ.get("INTERLEAVINGS", "1500"))
STEPS = 25
ACTIONS = ["test.mend", "test.reboot", "test.wipe", "test.print", "test.once"]
WORLD = sorted(frozenset(Condition) - {Condition.OUTSIDE_WINDOW})
MONEY = {Condition.PAYMENTS_UNSENT, Condition.REVERSALS_PENDING}
WINDOW = Hours(120, 300, lambda _at_ms: 0)


class Trade:
    """A terminal's trade beside the agent's jobs, and between them a worker that asks the guard as the real does."""

    def __init__(self, seed: int) -> None:
        self.rolls = random.Random(seed)
        self.now: set[Condition] = set()
        self.desk = Desk(hours=WINDOW)
        self.desk.clock.seconds = self.rolls.randrange(86_400)
        self.overriding: set[str] = set()
        self.begun = 0

    def live(self) -> None:
        for _ in range(STEPS):
            roll = self.rolls.random()
            if roll < 0.35:
                self.now ^= {self.rolls.choice(WORLD)}
            elif roll < 0.45 and len(self.desk.executions.known) < 6:
                self.ask()
            elif roll < 0.55:
                self.desk.pass_s(self.rolls.choice([1, 6, 61, 3600]))
            elif self.desk.jobs:
                self.work(self.desk.jobs.pop(0))

    def ask(self) -> None:
        overrides = self.rolls.random() < 0.2
        execution = self.desk.ask(self.rolls.choice(ACTIONS), not_after_s=10**6, override_holds=overrides)
        if overrides:
            self.overriding.add(execution)

    def work(self, job: Job) -> None:
        conditions = frozenset(self.now)
        if job.guard is not None and job.guard.judge(conditions).answer != "go":
            self.answer(JobDone(job.execution, job.serial, conditions=conditions, is_begun=False))
        elif job.kind is JobKind.CONDITIONS:
            self.answer(JobDone(job.execution, job.serial, conditions=conditions, boot="boot-1"))
        else:
            if job.kind is JobKind.STEP or job.definition.effect is not Effect.READS:
                self.must_be_safe(job)
            self.answer(JobDone(job.execution, job.serial, findings=FAIL, boot="boot-1"))

    def must_be_safe(self, job: Job) -> None:
        self.begun += 1
        window = set() if WINDOW.is_open(self.desk.moment.trusted_ms) else {Condition.OUTSIDE_WINDOW}
        held = holding(job.definition.effect, self.now | window)
        unsafe = held & NEVER_OVERRIDDEN if job.execution in self.overriding else held
        if job.definition.effect is Effect.DESTROYS_DATA:
            unsafe |= held & MONEY
        assert not unsafe, f"{job.definition.declared.name} began although {sorted(unsafe)}"

    def answer(self, done: JobDone) -> None:
        self.desk.take(self.desk.executions.on_done(done, self.desk.moment))


@pytest.mark.timeout(120 + COUNT / 50)
def test_no_step_begins_at_an_unsafe_moment_in_any_order_of_trading_and_jobs() -> None:
    begun = 0
    for seed in range(COUNT):
        trade = Trade(seed)
        trade.live()
        begun += trade.begun
    assert begun > COUNT / 10, "the sequences begin nothing: they show nothing"
