from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import pytest

from device_agent.actions import ActionContext, Definition, Finding, check
from device_agent.core.effects import Event, Job, JobDone, JobKind, JobProgress, JobStarted, Polled
from device_agent.drivers.results import LINE_SILENT_CODE, LineStatistics, PollResult
from device_agent.errors import ActionFailed
from device_agent.worker import MAX_JOBS, DevicePlan, DeviceWorker
from protocol.identifiers import DeviceId, ExecutionId
from protocol.records import Outcome

DEVICE = DeviceId("zvt-00000001")
WAIT_S = 20.0
EventT = TypeVar("EventT")


@dataclass(slots=True)
class Line:
    """A device whose polls and checks hang as long as ``gate`` is closed."""

    gate: threading.Event = field(default_factory=threading.Event)
    fails: bool = False
    closed: int = 0

    def poll(self, now: datetime) -> PollResult[None]:
        if self.fails:
            raise RuntimeError("a bug")
        return PollResult(now, True, {"sys.cpu_pct": 1.0}, frozenset(), None, LineStatistics())

    def close(self) -> None:
        self.closed += 1


@check("test.waits", zh="等", en="waits", families=["zvt"], expected_s=1)
def waits(ctx: ActionContext) -> list[Finding]:
    ctx.progress(50, "half way")
    ctx.device.gate.wait(WAIT_S)
    return [Finding(Outcome.PASS, evidence="cancelled" if ctx.is_cancelled() else "")]


@check("test.fails", zh="败", en="fails", families=["zvt"], expected_s=1)
def fails(_ctx: ActionContext) -> list[Finding]:
    raise ActionFailed("no_power", "no power")


@check("test.has_a_bug", zh="错", en="has a bug", families=["zvt"], expected_s=1)
def has_a_bug(_ctx: ActionContext) -> list[Finding]:
    raise ZeroDivisionError


def job(definition: Definition, serial: int = 1, name: str = "one") -> Job:
    return Job(ExecutionId(name), serial, DEVICE, JobKind.CHECK, definition)


@dataclass(slots=True)
class Bench:
    lines: list[Line] = field(default_factory=list)
    events: queue.Queue[Event] = field(default_factory=queue.Queue)
    poll_s: float = 3600.0
    worker: DeviceWorker = field(init=False)

    def __post_init__(self) -> None:
        plan = DevicePlan(DEVICE, "kiosk", self.poll_s, self.open_line)
        self.worker = DeviceWorker(plan, self.events.put)

    def open_line(self) -> Line:
        self.lines.append(Line())
        return self.lines[-1]

    def next(self, kind: type[EventT]) -> EventT:
        while True:
            event: Any = self.events.get(timeout=WAIT_S)
            if isinstance(event, kind):
                return event


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.worker.start()
    yield made
    for line in made.lines:
        line.gate.set()
    made.worker.stop()


def test_first_poll_comes_at_once(bench: Bench) -> None:
    assert bench.next(Polled).readings == {"sys.cpu_pct": 1.0}


def test_job_is_begun_progresses_and_is_answered(bench: Bench) -> None:
    bench.next(Polled)
    bench.worker.submit(job(waits))
    assert bench.next(JobStarted).serial == 1
    assert bench.next(JobProgress).percent == 50
    bench.lines[0].gate.set()
    assert bench.next(JobDone).findings[0].outcome is Outcome.PASS


@pytest.mark.parametrize(("definition", "code"), [(fails, "no_power"), (has_a_bug, "internal_error")])
def test_what_an_action_raises_is_its_own_failure(bench: Bench, definition: Definition, code: str) -> None:
    bench.worker.submit(job(definition))
    assert bench.next(JobDone).error == code
    bench.worker.submit(job(fails, 2))
    assert bench.next(JobDone).serial == 2


def test_what_a_merchant_is_to_read_is_shown_or_refused_where_nothing_can_show(bench: Bench) -> None:
    shown = Job(ExecutionId("one"), 1, DEVICE, JobKind.SHOW, waits, lines=("123 456",))
    bench.worker.submit(shown)
    assert bench.next(JobDone).error == "cannot_show"


def test_cancelled_function_can_see_it(bench: Bench) -> None:
    bench.worker.submit(job(waits))
    bench.next(JobStarted)
    bench.worker.cancel(ExecutionId("one"))
    bench.lines[0].gate.set()
    assert bench.next(JobDone).findings[0].evidence == "cancelled"


def test_replaced_worker_takes_the_waiting_jobs_over_with_a_line_of_its_own(bench: Bench) -> None:
    bench.worker.submit(job(waits))
    bench.next(JobStarted)
    bench.worker.submit(job(fails, 7, "two"))
    bench.worker.replace()
    assert bench.next(JobDone).serial == 7
    assert (len(bench.lines), bench.lines[0].closed) == (2, 1)


def test_answer_of_a_worker_that_was_given_up_is_dropped(bench: Bench) -> None:
    bench.worker.submit(job(waits))
    bench.next(JobStarted)
    bench.worker.replace()
    bench.lines[0].gate.set()
    bench.worker.submit(job(fails, 9, "two"))
    assert bench.next(JobDone).serial == 9


def test_driver_with_a_bug_counts_as_not_answering() -> None:
    bench = Bench(poll_s=0.01)
    bench.worker.plan = DevicePlan(DEVICE, "kiosk", 0.01, lambda: Line(fails=True))
    bench.worker.start()
    (sign,) = bench.next(Polled).signs
    bench.worker.stop()
    assert sign.code == LINE_SILENT_CODE


def test_more_jobs_than_may_wait_are_refused_as_busy(bench: Bench) -> None:
    bench.worker.submit(job(waits))
    bench.next(JobStarted)
    for serial in range(MAX_JOBS + 1):
        bench.worker.submit(job(fails, serial + 10))
    assert bench.next(JobDone).error == "busy"
