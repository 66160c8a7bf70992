"""One execution from its intent to its final state.

    check:  CHECK -> end
    test:   ASKING [-> HELD] -> CHECK -> end
    fix:    PRE_CHECK -> ASKING [-> HELD -> PRE_CHECK] -> STEP (or PROBE after a crash) ... -> POST_CHECK [-> SETTLING]
            -> SOAK -> LAST_CHECK -> end

A fix succeeds only when its post-check passes and still does after the soak, on the device that was treated.
Invariants: a step begins only after a durable row that says so (`Turn.is_durable`), and only when its guard finds a
safe moment; each job has a deadline; an answer to an earlier job changes nothing; a cancel is honoured before the first
step and between steps, and refused afterwards. After a crash an idempotent step runs again, a probeable one, or a test
whose device gave a mark before, is asked about, a `once` step never runs again: only proof makes it done, else UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final

from device_agent.actions import Definition, overall
from device_agent.core import journal, relapse, retrying
from device_agent.core.effects import AbandonWorker, CancelJobs, JobDone, JobKind, RunJob
from device_agent.core.hours import Hours
from device_agent.core.journal import Row
from device_agent.core.proof import OTHER_DEVICE, booted_since, ended_as, settle_s, stopped_as
from device_agent.core.safe_moment import Guard, SafeMoment, look_again_s
from device_agent.core.turns import BETWEEN, Moment, Stage, Turn
from device_agent.core.verdicts import job_of, verdicts
from protocol.capabilities import StepNature
from protocol.commands import ActionKind
from protocol.executions import NOT_NEEDED_CODE, STOPPED_CODE, CancelAnswer, ExecutionState, has_reached
from protocol.records import Outcome, Phase
from protocol.safety import Answer, Condition, Effect, Judged

ASK_TIMEOUT_S: Final = 10.0
SETTLE_EVERY_S: Final = 1.0
# What a job is for; in all other stages that have one it is a check.
_KINDS: Final = {Stage.ASKING: JobKind.CONDITIONS, Stage.STEP: JobKind.STEP, Stage.PROBE: JobKind.PROBE}
_QUESTIONS: Final = frozenset({JobKind.CONDITIONS, JobKind.PROBE})
_BUSY: Final = frozenset({Condition.TRANSACTION_RUNNING})
_NOT_HELD: Final[Mapping[str, object]] = {"holds": [], "earliest_start_ms": None}


class Execution:
    """``checks``: the device's definitions by name. ``open_faults``: codes of the faults that it has at the moment."""

    def __init__(
        self,
        row: Row,
        definition: Definition,
        checks: Mapping[str, Definition],
        hours: Hours | None = None,
        open_faults: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self.row = row
        self.definition = definition
        self.stage = Stage.ENDED if row.is_final else Stage.QUEUED
        self.due_ns: int | None = None
        self._checks = checks
        self._open_faults = open_faults
        self._found: frozenset[str] = frozenset()  # codes that the pre-check told
        self._safe = SafeMoment(definition.effect, row.overrides, hours)
        self._serial, self._settle_until_ns, self._job_timeout_s = 0, 0, 0.0
        self._was_held = self._is_last = False  # last: the soak is over; what is checked now decides

    @property
    def is_mutating(self) -> bool:
        return self.definition.effect is not Effect.READS

    def start(self, moment: Moment) -> Turn:
        """Its turn has come."""
        turn = Turn(is_durable=self.is_mutating)
        if not self.is_mutating:
            self._move(turn, state=ExecutionState.RUNNING)
            self._job(turn, moment, Stage.CHECK)
        elif self.definition.declared.kind is ActionKind.FIX:
            self._pre_check(turn, moment)
        else:
            self._ask(turn, moment)
        return turn

    def resume(self, moment: Moment) -> Turn:
        """After a restart of the agent, from the row alone."""
        turn = Turn()
        self._settle_until_ns = moment.now.in_s(settle_s(self.definition.declared))
        if self.row.state is ExecutionState.VERIFYING:
            self._verify(turn, moment)
        elif self.row.step_begun and (self.definition.steps or self.row.mark):
            self._recover_step(turn, moment)
        elif self.row.step_begun and not self.definition.may_repeat:
            self._end(turn, ExecutionState.UNKNOWN, "interrupted", "the agent stopped while the test ran")
        elif self.row.step_index > 0:
            self._ask(turn, moment)
        else:
            turn = self.start(moment)
        return turn

    def on_started(self, serial: int, moment: Moment) -> None:
        """The worker has begun the job; its time runs from here."""
        if serial == self._serial and self.stage is not Stage.ENDED:
            self.due_ns = moment.now.in_s(self._job_timeout_s)

    def on_done(self, done: JobDone, moment: Moment) -> Turn:
        turn = Turn(is_durable=self.is_mutating)
        if done.serial != self._serial:
            return turn
        match self.stage:
            case Stage.ASKING:
                self._asked(turn, done, moment)
            case Stage.CHECK:
                self._checked(turn, done, moment)
            case Stage.PRE_CHECK:
                self._pre_checked(turn, done, moment)
            case Stage.STEP:
                self._stepped(turn, done, moment)
            case Stage.PROBE:
                self._probed(turn, done, moment)
            case Stage.POST_CHECK | Stage.LAST_CHECK:
                self._post_checked(turn, done, moment)
            case _:
                pass  # No job is out in these stages; an answer here belongs to one given up.
        return turn

    def on_tick(self, moment: Moment) -> Turn:
        turn = Turn(is_durable=self.is_mutating)
        if self.due_ns is None or moment.now.monotonic_ns < self.due_ns:
            return turn
        match self.stage:
            case Stage.HELD if moment.trusted_ms > self.row.not_after_ms:
                state = ExecutionState.FAILED if self.row.step_index else ExecutionState.EXPIRED
                self._end(turn, state, "not_safe_in_time", ", ".join(self.row.holds))
            case Stage.HELD:
                self._ask(turn, moment)
            case Stage.RETRY if not self.row.step_index and not self.is_mutating:
                self._job(turn, moment, Stage.CHECK)
            case Stage.RETRY if not self.row.step_begun:
                self._ask(turn, moment)
            case Stage.RETRY | Stage.PROBE_LATER:
                self._recover_step(turn, moment)
            case Stage.SETTLING:
                self._post_check(turn, moment)
            case Stage.SOAK:
                self._is_last = True
                self._settle_until_ns = moment.now.in_s(settle_s(self.definition.declared))
                self._post_check(turn, moment)
            case Stage.QUEUED | Stage.ENDED:
                self.due_ns = None
            case _:
                self._timed_out(turn)
        return turn

    def cancel(self, *, state: ExecutionState = ExecutionState.CANCELLED, code: str = "") -> Turn:
        """``state``: CANCELLED, or SUPERSEDED by another. ``code``: why, if nobody asked for it by name."""
        turn = Turn()
        if self.stage in BETWEEN or (self.stage is Stage.CHECK and not self.is_mutating):
            turn.effects.append(CancelJobs(self.row.execution))
            if self.row.step_index or self.row.step_begun:
                self._stop_between(turn)
            else:
                self._end(turn, state, code, "ended before anything was changed")
        elif self.stage in {Stage.STEP, Stage.PROBE, Stage.PROBE_LATER} and self.row.step_index + 1 < self._step_count:
            self._move(turn, cancel=CancelAnswer.AFTER_STEP)
        elif self.stage is not Stage.ENDED:
            self._move(turn, cancel=CancelAnswer.REFUSED)
        else:
            turn.bodies.append(self.row.report())
        return turn

    @property
    def _nature(self) -> StepNature:
        return self.definition.steps[self.row.step_index].declared.nature if self._step_count else StepNature.PROBEABLE

    @property
    def _step_count(self) -> int:
        return len(self.definition.steps)

    def _ask(self, turn: Turn, moment: Moment) -> None:
        self._job(turn, moment, Stage.ASKING)

    def _asked(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        if done.error:
            self._try_again(turn, done, moment)
            return
        judged = self._safe.judge(done.conditions, moment.trusted_ms)
        match judged.answer:
            case Answer.REFUSE:
                held = ", ".join(sorted(judged.held))
                self._end(turn, ExecutionState.REJECTED, "unsafe", f"would destroy what is pending: {held}")
            case Answer.WAIT:
                self._hold(turn, judged, moment)
            case Answer.GO if self._was_held and self.row.step_index == 0 and self.definition.declared.pre_check:
                # What was wrong then may have passed while it waited.
                self._was_held = False
                self._pre_check(turn, moment)
            case Answer.GO:
                self._begin(turn, done, judged, moment)

    def _begin(self, turn: Turn, done: JobDone, judged: Judged, moment: Moment) -> None:
        overridden = sorted({*self.row.overridden, *judged.overridden})
        known = {"boot": done.boot, "identity": done.identity, "overridden": overridden, "mark": done.mark}
        if self.definition.declared.kind is ActionKind.FIX:
            known["treated"] = self.row.treated or relapse.treated(self.definition, self._found, self._open_faults())
            self._next_step(turn, moment, self.row.step_index, **known)
            return
        self._move(turn, state=ExecutionState.RUNNING, step_begun=True, **_NOT_HELD, **known)
        self._job(turn, moment, Stage.CHECK, self._guard(moment))

    def _hold(self, turn: Turn, judged: Judged, moment: Moment) -> None:
        """Shown as waiting, unless it has begun: no state is gone back to, and what holds it is said all the same."""
        self._was_held = True
        earliest_ms = self._safe.earliest_ms(judged, moment.trusted_ms)
        is_begun = has_reached(self.row.state, ExecutionState.RUNNING)
        state = self.row.state if is_begun else ExecutionState.WAITING_SAFE
        held = sorted(judged.held)
        if (self.row.state, self.row.holds, self.row.earliest_start_ms) != (state, held, earliest_ms):
            self._move(turn, state=state, holds=held, earliest_start_ms=earliest_ms, step_begun=False, detail="")
        self._wait(Stage.HELD, moment, look_again_s(earliest_ms, moment.trusted_ms))

    def _is_held_back(self, turn: Turn, done: JobDone, moment: Moment) -> bool:
        """The guard, or the terminal by itself, did not let it begin: somebody is paying, or the like."""
        is_refused = done.error == Condition.TRANSACTION_RUNNING
        if not is_refused and (done.is_begun or done.error):
            return False
        judged = self._safe.judge(_BUSY if is_refused else done.conditions, moment.trusted_ms)
        if judged.answer is Answer.WAIT:
            self._hold(turn, judged, moment)
        else:
            self._ask(turn, moment)
        return True

    def _checked(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        if self.is_mutating and self._is_held_back(turn, done, moment):
            return
        if done.error:
            self._try_again(turn, done, moment)
            return
        outcome = self._judge(turn, done, Phase.RESULT, self.definition)
        self._end(turn, ExecutionState.SUCCEEDED, "", "", outcome=outcome)

    def _try_again(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        if not self._retry(turn, done, moment):
            self._end(turn, ExecutionState.FAILED, done.error, done.detail)

    def _retry(self, turn: Turn, done: JobDone, moment: Moment) -> bool:
        """Whether the part that nobody answered is tried again, after a while."""
        action = self.definition.declared
        if not retrying.may_retry(action, done.error, self.row.retries):
            return False
        seconds = retrying.wait_s(action, self.row.execution, self.row.retries)
        begun = self.row.step_begun and done.is_begun
        self._move(turn, retries=self.row.retries + 1, step_begun=begun, detail=done.detail[:512])
        self._settle_until_ns = moment.now.in_s(seconds + settle_s(action))
        self._wait(Stage.RETRY, moment, seconds)
        return True

    def _pre_check(self, turn: Turn, moment: Moment) -> None:
        """It reads only: it waits for nothing, and whether it is needed at all is known before a safe moment comes."""
        if self.definition.declared.pre_check:
            state = ExecutionState.WAITING_SAFE if self.row.state is ExecutionState.AWAITING_CONSENT else None
            self._move(turn, state, step=self.definition.declared.pre_check, holds=[], earliest_start_ms=None)
            self._job(turn, moment, Stage.PRE_CHECK, of=self.row.step)
        else:
            self._ask(turn, moment)

    def _pre_checked(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        # A pre-check that could not be run does not speak against the fix.
        if not done.error:
            outcome = self._judge(turn, done, Phase.PRE_CHECK, self._checks[self.row.step])
            self._found = frozenset(code for finding in done.findings for code in finding.codes)
            self.row = journal.moved(self.row, self.row.state, is_forced=outcome is Outcome.PASS)
            if self.row.is_forced and self.row.skip_if_passing:
                self._end(turn, ExecutionState.FAILED, NOT_NEEDED_CODE, "the check before found nothing wrong")
                return
        self._ask(turn, moment)

    def _next_step(self, turn: Turn, moment: Moment, index: int, **known: object) -> None:
        if index >= self._step_count:
            self._verify(turn, moment)
            return
        if self.row.cancel is CancelAnswer.AFTER_STEP:
            self._stop_between(turn)
            return
        begun = {"step": self.definition.steps[index].declared.name, "step_index": index, "step_begun": True}
        known |= {"step_count": self._step_count, "detail": "", **_NOT_HELD}
        self._move(turn, state=ExecutionState.RUNNING, **begun, **known)
        self._job(turn, moment, Stage.STEP, self._guard(moment))

    def _stop_between(self, turn: Turn) -> None:
        words = f"stopped after {self.row.step_index} of {self._step_count} steps; what was done stays done"
        self._end(turn, ExecutionState.CANCELLED, STOPPED_CODE, words)

    def _stepped(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        if self._is_held_back(turn, done, moment) or (done.error and self._retry(turn, done, moment)):
            return
        if done.error:
            self._end(turn, stopped_as(done.error), done.error, f"step {self.row.step}: {done.detail}")
            return
        self.row = journal.moved(self.row, self.row.state, step_begun=False, step_index=self.row.step_index + 1)
        self._next_step(turn, moment, self.row.step_index)

    def _recover_step(self, turn: Turn, moment: Moment) -> None:
        if self._nature is StepNature.IDEMPOTENT:
            self._next_step(turn, moment, self.row.step_index)
        else:
            self._job(turn, moment, Stage.PROBE)

    def _probed(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        has_booted = booted_since(self.definition.effect, self.row.boot, done.boot)
        if (done.error or has_booted is False) and moment.now.monotonic_ns < self._settle_until_ns:
            # It may be on its way down, or up again.
            self._wait(Stage.PROBE_LATER, moment, SETTLE_EVERY_S)
        elif not done.error and (done.probe is True or has_booted):
            (self._stepped if self.definition.steps else self._checked)(turn, done, moment)
        elif not done.error and done.probe is False and not self.definition.steps:
            self._ask(turn, moment)
        elif not done.error and done.probe is False and self._nature is StepNature.PROBEABLE:
            self._next_step(turn, moment, self.row.step_index)
        elif not done.error and has_booted is False:
            self._end(turn, ExecutionState.FAILED, "not_restarted", "no restart within the time that one takes")
        else:
            words = f"step {self.row.step or 'of the test'} was interrupted; whether it took effect cannot be told"
            self._end(turn, ExecutionState.UNKNOWN, "interrupted", words)

    def _verify(self, turn: Turn, moment: Moment) -> None:
        declared = self.definition.declared
        if self.row.state is not ExecutionState.VERIFYING:
            self._move(turn, state=ExecutionState.VERIFYING, step=declared.post_check or "", step_begun=False)
        self._settle_until_ns = moment.now.in_s(settle_s(declared))
        self._post_check(turn, moment)

    def _post_check(self, turn: Turn, moment: Moment) -> None:
        stage = Stage.LAST_CHECK if self._is_last else Stage.POST_CHECK
        self._job(turn, moment, stage, of=self.definition.declared.post_check or "")

    def _post_checked(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        outcome = Outcome.ERROR if done.error else overall(done.findings)
        is_back = self.row.hold_until_ms is not None
        may_settle = done.error != OTHER_DEVICE and (bool(done.error) or not is_back)
        if outcome is not Outcome.PASS and may_settle and moment.now.monotonic_ns < self._settle_until_ns:
            self._wait(Stage.SETTLING, moment, SETTLE_EVERY_S)
            return
        if not done.error:
            self._judge(turn, done, Phase.POST_CHECK, self._checks[self.definition.declared.post_check or ""])
        if outcome is not Outcome.PASS:
            code, words = ended_as(outcome, done.error, done.detail, is_last=is_back)
            self._end(turn, ExecutionState.FAILED, code, words, outcome=outcome)
        elif self._is_last or self.definition.declared.soak_s <= 0:
            self.row = journal.moved(self.row, self.row.state, proved_ms=moment.trusted_ms)
            self._end(turn, ExecutionState.SUCCEEDED, "", "", outcome=outcome)
        else:
            self._soak(turn, moment)

    def _soak(self, turn: Turn, moment: Moment) -> None:
        hold_until_ms = self.row.hold_until_ms
        if hold_until_ms is None:
            hold_until_ms = moment.trusted_ms + int(self.definition.declared.soak_s * 1000)
            self._move(turn, hold_until_ms=hold_until_ms)
        self._wait(Stage.SOAK, moment, max(hold_until_ms - moment.trusted_ms, 0) / 1000)

    def _timed_out(self, turn: Turn) -> None:
        turn.effects += [CancelJobs(self.row.execution), AbandonWorker(self.row.device)]
        is_unknown = self.stage is Stage.PROBE or (self.stage is Stage.STEP and self._nature is StepNature.ONCE)
        state = ExecutionState.UNKNOWN if is_unknown else ExecutionState.FAILED
        self._end(turn, state, "timed_out", f"{self.row.step}: no answer in {self._job_timeout_s:g} s".lstrip(": "))

    def _guard(self, moment: Moment) -> Guard:
        return self._safe.guard(moment.trusted_ms, self.row.identity)

    def _judge(self, turn: Turn, done: JobDone, phase: Phase, check: Definition) -> Outcome:
        turn.bodies += verdicts(self.row.execution, check.declared, phase, done)
        return overall(done.findings)

    def _job(self, turn: Turn, moment: Moment, stage: Stage, guard: Guard | None = None, of: str = "") -> None:
        """``of``: the fix's own check by its name; else the action itself."""
        definition = self._checks[of] if of else self.definition
        kind = _KINDS.get(stage, JobKind.CHECK)
        self.stage = stage
        self._serial += 1
        self._job_timeout_s = ASK_TIMEOUT_S if kind in _QUESTIONS else definition.declared.timeout_s
        # Time runs from `on_started`; a job waits its turn behind the others of its device.
        self.due_ns = None
        identity = self.row.identity if stage in {Stage.POST_CHECK, Stage.LAST_CHECK, Stage.PROBE} else ""
        job = job_of(self.row, kind, definition, is_own=not of, trusted_ms=moment.trusted_ms)
        turn.effects.append(RunJob(replace(job, serial=self._serial, guard=guard, identity=identity)))

    def _wait(self, stage: Stage, moment: Moment, seconds: float) -> None:
        self.stage = stage
        self.due_ns = moment.now.in_s(seconds)

    def _end(self, turn: Turn, state: ExecutionState, code: str, detail: str, outcome: Outcome | None = None) -> None:
        self.stage = Stage.ENDED
        self.due_ns = None
        self._serial += 1
        self.row = journal.ended(self.row, state, code, detail, outcome)
        turn.bodies.append(self.row.report())

    def _move(self, turn: Turn, state: ExecutionState | None = None, **changed: object) -> None:
        self.row = journal.moved(self.row, state or self.row.state, **changed)
        turn.bodies.append(self.row.report())
