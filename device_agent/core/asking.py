"""An execution that waits for the merchant: SHOWING -> CONSENT -> agreed, or its end.

The code goes to one display after the other until one can show it. What is agreed becomes an `Execution` with the same
row and waits for its turn as any other. Invariant: nothing of the device is changed before `is_agreed`.
"""

from __future__ import annotations

from typing import Final

from device_agent.actions import Definition
from device_agent.core import journal
from device_agent.core.consent import WAIT_S, Consent, Tried, lines_for
from device_agent.core.effects import AbandonWorker, CancelJobs, Job, JobDone, JobKind, RunJob
from device_agent.core.journal import Row
from device_agent.core.turns import Moment, Stage, Turn
from protocol.executions import ExecutionState

# A printer takes less than half of it to say that its paper did not move.
SHOW_TIMEOUT_S: Final = 40.0
NO_DISPLAY: Final = "no device here has a screen or paper for the code"


class Asking:
    is_mutating: Final = True

    def __init__(self, row: Row, definition: Definition, consent: Consent) -> None:
        self.row = row
        self.definition = definition
        self.stage = Stage.SHOWING
        self.due_ns: int | None = None
        self._consent = consent
        self._serial = 0

    def begin(self, moment: Moment) -> Turn:
        turn = Turn()
        self._show(turn, moment, NO_DISPLAY)
        return turn

    def on_started(self, serial: int, moment: Moment) -> None:
        if serial == self._serial and self.stage is Stage.SHOWING:
            self.due_ns = moment.now.in_s(SHOW_TIMEOUT_S)

    def on_done(self, done: JobDone, moment: Moment) -> Turn:
        turn = Turn()
        if done.serial != self._serial or self.stage is not Stage.SHOWING:
            return turn
        if done.error:
            self._show_elsewhere(turn, moment, done.detail)
        else:
            self._move(turn, detail=f"the code is shown on {self._consent.displays[0]}")
            self.stage, self.due_ns = Stage.CONSENT, moment.now.in_s(WAIT_S)
        return turn

    def on_tick(self, moment: Moment) -> Turn:
        turn = Turn()
        if self.due_ns is None or moment.now.monotonic_ns < self.due_ns:
            return turn
        if self.stage is Stage.CONSENT:
            self._end(turn, ExecutionState.EXPIRED, "consent_not_given", "the code was not told in time")
        elif self.stage is Stage.SHOWING:
            turn.effects += [CancelJobs(self.row.execution), AbandonWorker(self._consent.displays[0])]
            self._show_elsewhere(turn, moment, f"not shown within {SHOW_TIMEOUT_S:g} s")
        return turn

    def cancel(self, *, state: ExecutionState = ExecutionState.CANCELLED, code: str = "") -> Turn:
        turn = Turn(effects=[CancelJobs(self.row.execution)])
        self._end(turn, state, code, "ended before anything was changed")
        return turn

    def try_code(self, code: str) -> tuple[Turn, Tried | None]:
        """None: the code is not on a display yet."""
        turn = Turn()
        if self.stage is not Stage.CONSENT:
            turn.bodies.append(self.row.report())
            return turn, None
        tried = self._consent.tried(code)
        match tried:
            case Tried.RIGHT:
                self._move(turn, is_agreed=True, code="", detail="")
            case Tried.WRONG:
                left = self._consent.tries_left
                self._move(turn, code="consent_wrong", detail=f"wrong code, {left} tries left")
            case Tried.BURNT:
                self._end(turn, ExecutionState.REJECTED, "consent_refused", "the code was tried wrongly too often")
        return turn, tried

    def _show_elsewhere(self, turn: Turn, moment: Moment, why: str) -> None:
        self._consent.displays.pop(0)
        self._show(turn, moment, why)

    def _show(self, turn: Turn, moment: Moment, why: str) -> None:
        """On the next display that is left; ``why`` the one before could not."""
        if not self._consent.displays:
            self._end(turn, ExecutionState.REJECTED, "consent_unavailable", why)
            return
        self._serial += 1
        self.due_ns = None
        job = Job(
            execution=self.row.execution,
            serial=self._serial,
            device=self._consent.displays[0],
            kind=JobKind.SHOW,
            definition=self.definition,
            trusted_ms=moment.trusted_ms,
            lines=tuple(lines_for(self.definition.declared.title, self._consent.code)),
        )
        turn.effects.append(RunJob(job))

    def _end(self, turn: Turn, state: ExecutionState, code: str, detail: str) -> None:
        self.stage, self.due_ns = Stage.ENDED, None
        self._serial += 1
        self._move(turn, state=state, code=code, detail=detail[:512])

    def _move(self, turn: Turn, state: ExecutionState | None = None, **changed: object) -> None:
        self.row = journal.moved(self.row, self.row.state if state is None else state, **changed)
        turn.bodies.append(self.row.report())
