"""One execution from its intent to its final state.

    check:  CHECK -> end
    test:   ASKING [-> HELD] -> CHECK -> end
    fix:    ASKING [-> HELD] -> PRE_CHECK -> STEP (or PROBE after a crash) ... -> POST_CHECK [-> SETTLING]
            -> SOAK -> LAST_CHECK -> end

A fix succeeds only when its post-check passes and still does after the soak. Invariants: a step begins only after a
durable row that says so (`Turn.is_durable`); each job has a deadline; an answer to an earlier job changes nothing; a
cancel is honoured before the first step and between steps, and refused in words afterwards. After a crash an idempotent
step runs again, a probeable one is asked about, a `once` step is never run again: only proof makes it done, else
UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from device_agent.actions import Definition, overall
from device_agent.core.effects import AbandonWorker, CancelJobs, Job, JobDone, JobKind, RunJob
from device_agent.core.journal import Row
from device_agent.core.turns import BEFORE_ANYTHING, Moment, Stage, Turn
from device_agent.core.verdicts import params_for, verdicts
from protocol.capabilities import StepNature
from protocol.commands import ActionKind, ExecutionState
from protocol.records import Outcome, Phase
from protocol.safety import Answer, Effect, answer, holding

ASK_TIMEOUT_S: Final = 10.0
# How often a held execution looks again, and a post-check that does not pass yet.
LOOK_AGAIN_S: Final = 5.0
SETTLE_EVERY_S: Final = 1.0
# A post-check may fail this long after the steps, beyond the declared outage and duration.
SETTLE_GRACE_S: Final = 10.0


class Execution:
    """``checks``: the device's definitions by name, for the fix's pre- and post-check."""

    def __init__(self, row: Row, definition: Definition, checks: Mapping[str, Definition]) -> None:
        self.row = row
        self.definition = definition
        self.stage = Stage.ENDED if row.is_final else Stage.QUEUED
        self.due_ns: int | None = None
        self._checks = checks
        self._serial = 0
        self._job_timeout_s = 0.0
        self._settle_until_ns = 0
        self._is_cancel_wanted = False
        self._cancel_code = ""

    @property
    def is_mutating(self) -> bool:
        return self.definition.effect is not Effect.READS

    def start(self, moment: Moment) -> Turn:
        """Its turn has come."""
        turn = Turn(is_durable=self.is_mutating)
        if self.is_mutating:
            self._ask(turn, moment)
        else:
            self._move(turn, state=ExecutionState.RUNNING)
            self._run_check(turn, moment, Stage.CHECK, self.definition)
        return turn

    def resume(self, moment: Moment) -> Turn:
        """After a restart of the agent, from the row alone."""
        turn = Turn()
        self._settle_until_ns = moment.now.in_s(SETTLE_GRACE_S + self.definition.declared.outage_s)
        row = self.row
        if row.state is ExecutionState.VERIFYING:
            self._verify(turn, moment)
        elif self.definition.declared.kind is ActionKind.TEST and row.step_begun:
            self._end(turn, ExecutionState.UNKNOWN, "interrupted", "the agent stopped while the test ran")
        elif row.step_begun:
            self._recover_step(turn, moment)
        elif row.state is ExecutionState.RUNNING and row.step_index > 0:
            self._next_step(turn, moment, row.step_index)
        else:
            return self.start(moment)
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
                self._checked(turn, done)
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
                self._end(turn, ExecutionState.EXPIRED, "not_safe_in_time", self.row.detail)
            case Stage.HELD:
                self._ask(turn, moment)
            case Stage.PROBE_LATER:
                self._recover_step(turn, moment)
            case Stage.SETTLING:
                self._post_check(turn, moment, Stage.POST_CHECK)
            case Stage.SOAK:
                self._post_check(turn, moment, Stage.LAST_CHECK)
            case Stage.QUEUED | Stage.ENDED:
                self.due_ns = None
            case _:
                self._timed_out(turn)
        return turn

    def cancel(self, *, state: ExecutionState = ExecutionState.CANCELLED, code: str = "") -> Turn:
        """``state``: CANCELLED, or SUPERSEDED when another execution takes its place. ``code``: why, if nobody asked
        for it by name.
        """
        turn = Turn()
        self._cancel_code = code
        if self.stage in BEFORE_ANYTHING:
            turn.effects.append(CancelJobs(self.row.execution))
            self._end(turn, state, code, "ended before anything was changed")
        elif self.stage in {Stage.STEP, Stage.PROBE} and self.row.step_index + 1 < self.row.step_count:
            self._is_cancel_wanted = True
            self._say(turn, "will stop after the present step")
        elif self.stage is not Stage.ENDED:
            self._say(turn, "too late to cancel: its last step is running or done")
        else:
            self._say(turn, self.row.detail)
        return turn

    def _ask(self, turn: Turn, moment: Moment) -> None:
        self._job(turn, moment, Stage.ASKING, JobKind.CONDITIONS, self.definition, ASK_TIMEOUT_S)

    def _asked(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        if done.error:
            self._end(turn, ExecutionState.FAILED, done.error, done.detail)
            return
        held = ", ".join(sorted(holding(self.definition.effect, done.conditions)))
        match answer(self.definition.effect, done.conditions):
            case Answer.REFUSE:
                self._end(turn, ExecutionState.REJECTED, "unsafe", f"would destroy what is pending: {held}")
            case Answer.WAIT:
                # A restart within the pre-check finds itself RUNNING, and no state is gone back to.
                is_running = self.row.state is ExecutionState.RUNNING
                state = ExecutionState.RUNNING if is_running else ExecutionState.WAITING_SAFE
                if (self.row.state, self.row.detail) != (state, held):
                    self._move(turn, state=state, detail=held)
                self._wait(Stage.HELD, moment, LOOK_AGAIN_S)
            case Answer.GO:
                self._begin(turn, moment, done.boot)

    def _begin(self, turn: Turn, moment: Moment, boot: str) -> None:
        declared = self.definition.declared
        if declared.kind is ActionKind.FIX:
            self._move(turn, state=ExecutionState.RUNNING, detail="", boot=boot, step=declared.pre_check or "")
            check = self._checks.get(declared.pre_check or "")
            if check is None:
                self._next_step(turn, moment, 0)
            else:
                self._run_check(turn, moment, Stage.PRE_CHECK, check)
        else:
            self._move(turn, state=ExecutionState.RUNNING, detail="", boot=boot, step_begun=True)
            self._run_check(turn, moment, Stage.CHECK, self.definition)

    def _checked(self, turn: Turn, done: JobDone) -> None:
        if done.error:
            self._end(turn, ExecutionState.FAILED, done.error, done.detail)
            return
        outcome = self._judge(turn, done, Phase.RESULT, self.definition)
        self._end(turn, ExecutionState.SUCCEEDED, "", "", outcome=outcome)

    def _pre_checked(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        # A pre-check that could not be run does not speak against the fix.
        if not done.error:
            check = self._checks[self.definition.declared.pre_check or ""]
            outcome = self._judge(turn, done, Phase.PRE_CHECK, check)
            if outcome is Outcome.PASS and self.row.skip_if_passing:
                self._end(
                    turn,
                    ExecutionState.FAILED,
                    "not_needed",
                    "the check before found nothing wrong; nothing was changed",
                )
                return
        self._next_step(turn, moment, 0)

    def _next_step(self, turn: Turn, moment: Moment, index: int) -> None:
        steps = self.definition.steps
        if index >= len(steps):
            self._verify(turn, moment)
            return
        if self._is_cancel_wanted:
            words = f"stopped after step {index} of {len(steps)}; what was done stays done"
            self._end(turn, ExecutionState.CANCELLED, self._cancel_code, words)
            return
        name = steps[index].declared.name
        self._move(
            turn, state=ExecutionState.RUNNING, step=name, step_index=index, step_count=len(steps), step_begun=True
        )
        self._job(turn, moment, Stage.STEP, JobKind.STEP, self.definition, self.definition.declared.timeout_s)

    def _stepped(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        if done.error:
            self._end(turn, ExecutionState.FAILED, done.error, f"step {self.row.step}: {done.detail}")
            return
        self.row = msgspec.structs.replace(self.row, step_begun=False, step_index=self.row.step_index + 1)
        self._next_step(turn, moment, self.row.step_index)

    def _recover_step(self, turn: Turn, moment: Moment) -> None:
        step = self.definition.steps[self.row.step_index]
        if step.declared.nature is StepNature.IDEMPOTENT:
            self._next_step(turn, moment, self.row.step_index)
        else:
            self._job(turn, moment, Stage.PROBE, JobKind.PROBE, self.definition, ASK_TIMEOUT_S)

    def _probed(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        if done.error and moment.now.monotonic_ns < self._settle_until_ns:
            # It may be on its way up again.
            self._wait(Stage.PROBE_LATER, moment, SETTLE_EVERY_S)
        elif not done.error and (done.probe is True or self._was_rebooted(done.boot)):
            self._stepped(turn, done, moment)
        elif not done.error and done.probe is False and self._nature() is StepNature.PROBEABLE:
            self._next_step(turn, moment, self.row.step_index)
        else:
            words = f"the agent stopped while step {self.row.step} ran; whether it took effect cannot be told"
            self._end(turn, ExecutionState.UNKNOWN, "interrupted", words)

    def _was_rebooted(self, boot: str) -> bool:
        """The boot changed since the step was begun: that proves a reboot."""
        is_known = bool(boot and self.row.boot)
        return self.definition.effect is Effect.REBOOTS and is_known and boot != self.row.boot

    def _verify(self, turn: Turn, moment: Moment) -> None:
        declared = self.definition.declared
        if self.row.state is not ExecutionState.VERIFYING:
            self._move(turn, state=ExecutionState.VERIFYING, step=declared.post_check or "", step_begun=False)
        self._settle_until_ns = moment.now.in_s(SETTLE_GRACE_S + declared.outage_s + declared.expected_s)
        self._post_check(turn, moment, Stage.POST_CHECK)

    def _post_check(self, turn: Turn, moment: Moment, stage: Stage) -> None:
        self._run_check(turn, moment, stage, self._checks[self.definition.declared.post_check or ""])

    def _post_checked(self, turn: Turn, done: JobDone, moment: Moment) -> None:
        outcome = Outcome.ERROR if done.error else overall(done.findings)
        is_last = self.stage is Stage.LAST_CHECK
        if outcome is not Outcome.PASS and not is_last and moment.now.monotonic_ns < self._settle_until_ns:
            self._wait(Stage.SETTLING, moment, SETTLE_EVERY_S)
            return
        if not done.error:
            self._judge(turn, done, Phase.POST_CHECK, self._checks[self.definition.declared.post_check or ""])
        hold_until_ms = self.row.hold_until_ms
        if outcome is not Outcome.PASS:
            words = "it came back within the soak" if is_last else "the check after the steps does not pass"
            self._end(
                turn, ExecutionState.FAILED, "post_check_failed", f"{words}. {done.detail}".strip(), outcome=outcome
            )
        elif is_last or self.definition.declared.soak_s <= 0:
            self._end(turn, ExecutionState.SUCCEEDED, "", "", outcome=outcome)
        else:
            if hold_until_ms is None:
                hold_until_ms = moment.trusted_ms + int(self.definition.declared.soak_s * 1000)
                self._move(turn, hold_until_ms=hold_until_ms)
            self._wait(Stage.SOAK, moment, max(hold_until_ms - moment.trusted_ms, 0) / 1000)

    def _timed_out(self, turn: Turn) -> None:
        turn.effects += [CancelJobs(self.row.execution), AbandonWorker(self.row.device)]
        words = f"no answer in {self._job_timeout_s:g} s"
        is_once = self.stage is Stage.STEP and self._nature() is StepNature.ONCE
        if is_once or self.stage is Stage.PROBE:
            self._end(turn, ExecutionState.UNKNOWN, "timed_out", f"step {self.row.step}: {words}")
        else:
            self._end(turn, ExecutionState.FAILED, "timed_out", words)

    def _nature(self) -> StepNature:
        return self.definition.steps[self.row.step_index].declared.nature

    def _judge(self, turn: Turn, done: JobDone, phase: Phase, check: Definition) -> Outcome:
        turn.bodies += verdicts(self.row.execution, check.declared, phase, done)
        return overall(done.findings)

    def _run_check(self, turn: Turn, moment: Moment, stage: Stage, check: Definition) -> None:
        self._job(turn, moment, stage, JobKind.CHECK, check, check.declared.timeout_s)

    def _job(
        self, turn: Turn, moment: Moment, stage: Stage, kind: JobKind, definition: Definition, timeout_s: float
    ) -> None:
        self.stage = stage
        self._serial += 1
        self._job_timeout_s = timeout_s
        # Time runs from `on_started`; a job waits its turn behind the others of its device.
        self.due_ns = None
        turn.effects.append(
            RunJob(
                Job(
                    execution=self.row.execution,
                    serial=self._serial,
                    device=self.row.device,
                    kind=kind,
                    definition=definition,
                    params=params_for(definition, self.row.params, is_own=definition is self.definition),
                    step_index=self.row.step_index,
                    boot_before=self.row.boot,
                    trusted_ms=moment.trusted_ms,
                )
            )
        )

    def _wait(self, stage: Stage, moment: Moment, seconds: float) -> None:
        self.stage = stage
        self.due_ns = moment.now.in_s(seconds)

    def _say(self, turn: Turn, words: str) -> None:
        turn.bodies.append(msgspec.structs.replace(self.row.report(), detail=words[:512]))

    def _end(self, turn: Turn, state: ExecutionState, code: str, detail: str, outcome: Outcome | None = None) -> None:
        self.stage = Stage.ENDED
        self.due_ns = None
        self._serial += 1
        self._move(turn, state=state, code=code, detail=detail[:512], outcome=outcome)

    def _move(self, turn: Turn, **changed: object) -> None:
        self.row = msgspec.structs.replace(self.row, **changed)
        turn.bodies.append(self.row.report())
