"""One thread for one device: polls it, runs parts of actions on it, and is replaced when it hangs.

Rules: a device's driver is touched by its worker alone, so a hung line stalls nothing else; jobs go before polls; what
a worker says after it was given up is dropped. Bounds: `MAX_JOBS` wait, `MAX_REPLACED` hung threads are left behind,
after that the device counts as not answering until the agent restarts. Deciding is the core's part.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from device_agent.core.effects import Event, Job, JobDone, JobKind, JobProgress, JobStarted, Noticed, Polled
from device_agent.drivers.results import LINE_SILENT_CODE, FaultSign
from device_agent.errors import ActionFailed, AgentError
from device_agent.trace import Trace
from protocol.identifiers import DeviceId, ExecutionId
from protocol.parameters import ParamValue
from protocol.safety import Answer, Condition

if TYPE_CHECKING:
    from device_agent.actions import ActionContext
    from device_agent.app_log_rules import LogSign

MAX_JOBS: Final = 64
MAX_REPLACED: Final = 4
# A poll has no declared time of its own; every driver's own timeouts together stay below this.
POLL_TIMEOUT_S: Final = 60.0

_log = logging.getLogger(__name__)


class LogSource(Protocol):
    """Where codes that happen come from: the payment application's log."""

    def follow(self) -> Sequence[LogSign]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """How to make and treat one device. ``open_device`` is called again when a hung worker is replaced."""

    device: DeviceId
    terminal_class: str
    poll_s: float
    open_device: Callable[[], Any]
    host_boot: str = ""
    log: LogSource | None = None


class JobContext:
    """What an action function is handed (`device_agent.actions.ActionContext`)."""

    def __init__(self, job: Job, plan: DevicePlan, device: Any, worker: DeviceWorker) -> None:
        self.device = device
        self.params: Mapping[str, ParamValue] = job.params
        self.terminal_class = plan.terminal_class
        self.boot_before = job.boot_before
        self._job = job
        self._plan = plan
        self._worker = worker
        self._begun = time.monotonic()

    @property
    def trusted_ms(self) -> int:
        return self._job.trusted_ms + int((time.monotonic() - self._begun) * 1000)

    @property
    def boot(self) -> str:
        return boot_of(self.device, self._plan)

    @staticmethod
    def monotonic() -> float:
        return time.monotonic()

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(seconds)

    def progress(self, percent: int, note: str = "") -> None:
        self._worker.say(JobProgress(self._job.execution, percent, note))

    def is_cancelled(self) -> bool:
        return self._job.execution in self._worker.cancelled


@dataclass(slots=True)
class DeviceWorker:
    plan: DevicePlan
    post: Callable[[Event], None]
    cancelled: set[ExecutionId] = field(default_factory=set)
    replaced: int = 0
    trace: Trace = field(default_factory=Trace)
    _jobs: queue.Queue[Job | None] = field(default_factory=lambda: queue.Queue(MAX_JOBS))
    _generation: int = 0
    _poll_begun: float | None = None
    _thread: threading.Thread | None = None
    _driver: Any = None

    def start(self) -> None:
        name = f"device-{self.plan.device}"
        self._thread = threading.Thread(target=self._run, args=(self._generation,), name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        if self.replaced > MAX_REPLACED:
            words = f"its driver hung {self.replaced} times; the agent must be started again"
            self.post(JobDone(job.execution, job.serial, error="device_not_answering", detail=words, is_begun=False))
            return
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self.post(JobDone(job.execution, job.serial, error="busy", detail=f"{MAX_JOBS} jobs wait", is_begun=False))

    def cancel(self, execution: ExecutionId) -> None:
        # Bounded by clearing: forgetting a cancel only lets a function run to its end.
        if len(self.cancelled) >= MAX_JOBS:
            self.cancelled.clear()
        self.cancelled.add(execution)

    def replace(self) -> None:
        """Leaves a hung thread behind and starts another with a driver of its own."""
        self._generation += 1
        self._poll_begun = None
        self.replaced += 1
        # The one touch from outside: a line that is held exclusively must be free for the next driver.
        with suppress(OSError):
            self._close(self._driver)
        self.trace.add(f"hangs: worker replaced ({self.replaced} of {MAX_REPLACED})")
        _log.error("device %s hangs: worker replaced (%d of %d)", self.plan.device, self.replaced, MAX_REPLACED)
        if self.replaced <= MAX_REPLACED:
            self.start()

    def watch(self) -> None:
        """Replaces a worker whose poll does not come back."""
        begun = self._poll_begun
        if begun is not None and time.monotonic() - begun > POLL_TIMEOUT_S:
            self.replace()
            self.post(self._silent(f"no answer to a poll in {POLL_TIMEOUT_S:g} s"))

    def stop(self) -> None:
        self._generation += 1
        try:
            self._jobs.put_nowait(None)
        except queue.Full:
            return
        if self._thread is not None:
            self._thread.join(1.0)
            # A thread that hangs may still be reading it.
            if self.plan.log is not None and not self._thread.is_alive():
                self.plan.log.close()

    def say(self, event: Event) -> None:
        self.post(event)

    def _run(self, generation: int) -> None:
        device = self._driver = self.plan.open_device()
        poll_at = time.monotonic()
        while generation == self._generation:
            try:
                job = self._jobs.get(timeout=max(poll_at - time.monotonic(), 0.0))
            except queue.Empty:
                poll_at = max(poll_at + self.plan.poll_s, time.monotonic())
                self._poll(device, generation)
                continue
            if job is None:
                break
            self._perform(job, device, generation)
        self._close(device)

    def _poll(self, device: Any, generation: int) -> None:
        self._poll_begun = time.monotonic()
        try:
            result = device.poll(datetime.now(UTC))
            events: list[Event] = [
                Polled(self.plan.device, result.alive, result.readings, result.faults, result.untold)
            ]
            faults = ", ".join(sorted(sign.code for sign in result.faults)) or "no fault"
            self.trace.polled(f"poll: {'answers' if result.alive else 'silent'}, {faults}")
            if self.plan.log is not None:
                events += noticed(self.plan.device, self.plan.log.follow())
        except Exception as error:  # noqa: BLE001 - the runner edge: a driver's bug must not end the watching
            _log.exception("poll of %s failed", self.plan.device)
            self.trace.polled(f"poll: driver failed: {type(error).__name__}")
            events = [self._silent(f"driver failed: {type(error).__name__}")]
        if generation == self._generation:
            self._poll_begun = None
            for event in events:
                self.post(event)

    def _perform(self, job: Job, device: Any, generation: int) -> None:
        if job.execution in self.cancelled and job.kind is JobKind.CHECK:
            return
        self.post(JobStarted(job.execution, job.serial))
        begun = time.monotonic()
        context = JobContext(job, self.plan, device, self)
        try:
            done = held_back(job, device, self.plan) or answer(job, context, device, self.plan)
        except AgentError as error:
            done = refused(job, error)
        except Exception as error:  # noqa: BLE001 - the runner edge: an action's bug is its failure, told and logged
            _log.exception("%s of %s on %s failed", job.kind.value, job.definition.declared.name, self.plan.device)
            done = JobDone(job.execution, job.serial, error="internal_error", detail=type(error).__name__)
        took_s = time.monotonic() - begun
        what = f"{job.kind.value} of {job.definition.declared.name}"
        self.trace.add(f"{what}: {done.error or 'done'} in {took_s * 1000:.0f} ms")
        if generation == self._generation:
            self.post(timed(done, took_s))

    @staticmethod
    def _close(device: Any) -> None:
        close = getattr(device, "close", None)
        if close is not None:
            close()

    def _silent(self, words: str) -> Polled:
        code = getattr(self._driver, "silent_code", LINE_SILENT_CODE)
        return Polled(self.plan.device, False, {}, frozenset({FaultSign(code, words)}))


def noticed(device: DeviceId, signs: Sequence[LogSign]) -> list[Event]:
    if not signs:
        return []
    happened = tuple(FaultSign(sign.code, sign.evidence) for sign in signs if not sign.is_over)
    return [Noticed(device, happened, frozenset(sign.code for sign in signs if sign.is_over))]


def held_back(job: Job, device: Any, plan: DevicePlan) -> JobDone | None:
    """Asks the job's guard, if it has one, right before the job would begin; what it must wait for, or why it may not.

    None: it may begin.
    """
    guard = job.guard
    if guard is None:
        return None
    try:
        conditions = conditions_of(device)
        seen = identity_of(device)
    except AgentError as error:
        return dataclasses.replace(refused(job, error), is_begun=False)
    if guard.identity and seen and seen != guard.identity:
        words = f"another device answers here than before: {seen}, not {guard.identity}"
        return JobDone(job.execution, job.serial, error="other_device", detail=words, is_begun=False)
    if guard.judge(conditions).answer is Answer.GO:
        return None
    boot = boot_of(device, plan)
    return JobDone(job.execution, job.serial, conditions=conditions, boot=boot, identity=seen, is_begun=False)


def refused(job: Job, error: AgentError) -> JobDone:
    reason = getattr(error, "reason", error.code)
    return JobDone(job.execution, job.serial, error=str(reason)[:80], detail=str(error)[:400])


def answer(job: Job, context: ActionContext, device: Any, plan: DevicePlan) -> JobDone:
    """Runs what the job asks for; raises what the action raises."""
    execution, serial = job.execution, job.serial
    match job.kind:
        case JobKind.CONDITIONS:
            conditions = conditions_of(device)
            boot, identity = boot_of(device, plan), identity_of(device)
            mark = job.definition.mark(context) if job.definition.mark is not None else ""
            return JobDone(execution, serial, conditions=conditions, boot=boot, identity=identity, mark=mark)
        case JobKind.CHECK:
            run = job.definition.run
            findings = tuple(run(context)) if run is not None else ()
            seen = identity_of(device) if job.identity else ""
            if seen and seen != job.identity:
                raise ActionFailed("other_device", f"another device answers here than before: {seen}")
            return JobDone(execution, serial, findings=findings)
        case JobKind.STEP:
            job.definition.steps[job.step_index].run(context)
            return JobDone(execution, serial)
        case JobKind.SHOW:
            show = getattr(device, "show_to_merchant", None)
            if show is None:
                raise ActionFailed("cannot_show", "the device has neither a screen nor paper for it")
            show(job.lines)
            return JobDone(execution, serial)
        case JobKind.PROBE if job.definition.since is not None:
            if job.identity and identity_of(device) not in {"", job.identity}:
                return JobDone(execution, serial)
            found = job.definition.since(context, job.mark)
            return JobDone(execution, serial, tuple(found or ()), probe=None if found is None else bool(found))
        case JobKind.PROBE:
            probe = job.definition.steps[job.step_index].probe
            seen_done = probe(context) if probe is not None else None
            return JobDone(execution, serial, probe=seen_done, boot=boot_of(device, plan))


def boot_of(device: Any, plan: DevicePlan) -> str:
    """The boot of the device itself where it can be asked, else that of the host it shares with the agent."""
    ask = getattr(device, "boot", None)
    return str(ask()) if callable(ask) else plan.host_boot


def conditions_of(device: Any) -> frozenset[Condition]:
    """What the device is in the middle of. What has no such thing, as a machine that takes no payments, is idle."""
    ask = getattr(device, "conditions", None)
    return frozenset(ask()) if ask is not None else frozenset()


def identity_of(device: Any) -> str:
    """What tells it from another of its kind, such as a serial number; empty where it does not say."""
    ask = getattr(device, "identity_text", None)
    return str(ask())[:80] if ask is not None else ""


def timed(done: JobDone, seconds: float) -> JobDone:
    return dataclasses.replace(done, duration_ms=round(seconds * 1000))
