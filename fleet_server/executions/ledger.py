"""The life of one execution, as pure decisions: what happened, and when, in; where it stands then, out.

States move only along `protocol.executions.TABLE`. Each state that is not final has a deadline of the kind that the
table names, and `overdue` says what passing it means. Reports may come twice, late and in any order.

Invariant: final states absorb; a standing has a deadline exactly when its state is not final.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from fleet_server.kit.times import from_ms
from protocol.commands import RUNNING_TIMEOUT, ActionKind, Refusal
from protocol.executions import (
    CAME_BACK_CODE,
    FINAL,
    NO_WORD,
    TABLE,
    UNSENT,
    ExecutionState,
    Limit,
    Result,
    may_follow,
    result_of,
)
from protocol.records import ExecutionReport

# The device answers a command at once, so a missing answer means that it was lost on the way.
STORED_WITHIN = timedelta(seconds=20)
MAX_SENDS = 3
# Beside conditions, what can be set aside to begin a fix: its check before found nothing wrong.
PRE_CHECK = "pre_check"
# A queued execution of an online device that could not be sent is looked at again after this long.
LOOK_AGAIN = timedelta(seconds=30)
_SEND_AGAIN_SOON = timedelta(seconds=1)
# A signer is started anew within seconds; what could not be signed goes out soon after.
_SIGN_AGAIN = timedelta(seconds=5)
# A freeze lasts for days, and may be ended early.
_THAW_LOOK = timedelta(minutes=5)
# What a report needs from the terminal to here on a bad day, on top of what the work itself may take.
_GRACE = timedelta(seconds=30)
_HOLD_GRACE = timedelta(seconds=60)
# Refusals of one copy of a command, not of the execution: an old copy met a new session. A fresh copy may pass.
_OF_THE_COPY = frozenset({Refusal.SESSION_NONCE, Refusal.REPLAYED, Refusal.TOO_LATE})

_S = ExecutionState
# The server's own ends: the device may still tell more, which is evidence.
_UNHEARD_OF = NO_WORD | {_S.EXPIRED} | {_S.CANCELLED}


@dataclass(frozen=True, slots=True)
class Terms:
    """What does not change: from the request and the declared action."""

    kind: ActionKind
    timeout_s: float
    soak_s: float
    queued_until: datetime

    @property
    def running_timeout(self) -> timedelta:
        return max(RUNNING_TIMEOUT[self.kind], timedelta(seconds=self.timeout_s)) + _GRACE


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an execution stands; every field is a column of the ledger."""

    state: ExecutionState
    deadline_at: datetime | None
    attempt: int = 0
    outcome: str | None = None
    code: str = ""
    detail: str = ""
    step: str = ""
    step_index: int = 0
    step_count: int = 0
    progress_pct: int | None = None
    output_tail: str = ""
    cancel_asked_at: datetime | None = None
    cancel_answer: str | None = None
    holds: list[str] = field(default_factory=list)
    earliest_start: datetime | None = None
    overridden: list[str] = field(default_factory=list)
    retries: int = 0
    came_back_at: datetime | None = None
    published_at: datetime | None = None
    stored_at: datetime | None = None
    started_at: datetime | None = None
    verifying_at: datetime | None = None
    hold_until: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    def result(self, kind: ActionKind) -> Result | None:
        return result_of(kind, self.state, self.code, came_back=self.came_back_at is not None)


class Heard(Enum):
    """What a report was worth."""

    MOVED = "moved"
    PROGRESS = "progress"
    NOTHING_NEW = "nothing_new"
    CAME_BACK = "came_back"  # what had been proved gone was seen again: the state stays, the result does not
    LATE = "late"  # contradicts where the execution stands: kept as evidence, changes nothing


def queued(terms: Terms) -> Standing:
    return Standing(_S.QUEUED, terms.queued_until)


def awaiting(terms: Terms) -> Standing:
    """People have to allow it first, within the time that it may wait."""
    return Standing(_S.AWAITING_APPROVAL, terms.queued_until)


def approved(standing: Standing, terms: Terms) -> Standing:
    return _step(standing, _S.QUEUED, deadline_at=terms.queued_until)


def refused(standing: Standing, now: datetime, *, detail: str) -> Standing:
    return replace(_finish(standing, _S.CANCELLED, now, code="approval_refused"), detail=detail[:300])


def sent(standing: Standing, now: datetime, *, jitter: float) -> Standing:
    """Handed to the broker (again). ``jitter``: 0 to 1, spreads the next look over a quarter of the wait."""
    attempt = standing.attempt + 1
    wait = STORED_WITHIN * 2 ** ((attempt - 1) % MAX_SENDS)
    return _step(
        standing,
        _S.PUBLISHED,
        attempt=attempt,
        published_at=now,
        deadline_at=now + wait * (1 + 0.25 * jitter),
        code="",
        detail="",
    )


def unsent(standing: Standing, terms: Terms, now: datetime, *, is_online: bool) -> Standing:
    """Waits in the queue: for the device's next hello, or, when it is online all the same, for another look."""
    look_at = now + LOOK_AGAIN if is_online else terms.queued_until
    return _step(standing, _S.QUEUED, deadline_at=min(terms.queued_until, look_at))


def unsigned(standing: Standing, terms: Terms, now: datetime, *, code: str, detail: str) -> Standing:
    """Waits in the queue because its command was not signed; ``code`` and ``detail`` say why until it is sent."""
    deadline_at = min(terms.queued_until, now + _SIGN_AGAIN)
    return _step(standing, _S.QUEUED, deadline_at=deadline_at, code=code, detail=detail[:300])


def frozen(standing: Standing, terms: Terms, now: datetime, *, code: str, detail: str) -> Standing:
    """Waits in the queue because a freeze is in force, as long as it may wait at all."""
    deadline_at = min(terms.queued_until, now + _THAW_LOOK)
    return _step(standing, _S.QUEUED, deadline_at=deadline_at, code=code, detail=detail[:300])


def is_unsent(standing: Standing) -> bool:
    """No copy of its command has ever left: whatever ends it now, the device has done nothing."""
    return standing.state in UNSENT and standing.attempt == 0


def cancelled(standing: Standing, now: datetime, *, code: str = "cancelled") -> Standing:
    """Somebody wants it ended: at once when it `is_unsent`; else the device decides, and is asked until it answers."""
    if is_unsent(standing):
        return replace(_finish(standing, _S.CANCELLED, now, code=code), cancel_asked_at=now)
    return replace(standing, cancel_asked_at=now)


def superseded(standing: Standing, now: datetime) -> Standing:
    """A newer request takes its place: at once when it `is_unsent`, else the device is told by the newer one."""
    return _finish(standing, _S.SUPERSEDED, now, code="superseded") if is_unsent(standing) else standing


def orphaned(standing: Standing, now: datetime) -> Standing:
    """Its device was retired: nobody will ever answer."""
    end = _S.CANCELLED if is_unsent(standing) else _S.UNREACHABLE
    return _finish(standing, end, now, code="device_retired")


def overdue(standing: Standing, terms: Terms, now: datetime) -> Standing:
    """What passing the deadline means. What `may_send_again` is sent instead."""
    if TABLE[standing.state].limit not in {Limit.REQUEST, Limit.ANSWER}:
        return _finish(standing, _S.TIMED_OUT, now, code=f"no_word_in_{standing.state.lower()}")
    if now >= terms.queued_until:
        if is_unsent(standing):
            return _finish(standing, _S.EXPIRED, now, code="queue_expired")
        code = "not_answered_in_time" if standing.cancel_asked_at is None else "cancel_not_answered"
        return _finish(standing, _S.UNREACHABLE, now, code=code)
    if standing.state is _S.PUBLISHED and standing.cancel_asked_at is None:
        return unsent(standing, terms, now, is_online=True)
    return replace(standing, deadline_at=min(terms.queued_until, now + LOOK_AGAIN))


def may_send_again(standing: Standing, terms: Terms, now: datetime) -> bool:
    if standing.cancel_asked_at is not None or now >= terms.queued_until:
        return False
    if standing.state is _S.PUBLISHED:
        return standing.attempt % MAX_SENDS != 0
    return standing.state is _S.QUEUED


def reported(
    standing: Standing, terms: Terms, report: ExecutionReport, at: datetime, now: datetime
) -> tuple[Standing, Heard]:
    """``at``: when the device says it happened; deadlines run from ``now``."""
    if report.state is standing.state:
        if standing.state is _S.SUCCEEDED and report.code == CAME_BACK_CODE:
            return _came_back(standing, report, at)
        return _progressed(standing, terms, report, now)
    if not may_follow(standing.state, report.state):
        return standing, _worth_of_old(standing, report)
    if _refused_only_the_copy(standing, report):
        again = _step(standing, _S.QUEUED, code=report.code, deadline_at=now + _SEND_AGAIN_SOON)
        return again, Heard.MOVED
    if report.state in FINAL:
        ended = _step(standing, report.state, deadline_at=None, finished_at=at)
        return _described(ended, report), Heard.MOVED
    return _moved(standing, terms, report, at, now), Heard.MOVED


def _refused_only_the_copy(standing: Standing, report: ExecutionReport) -> bool:
    is_of_copy = report.state is _S.REJECTED and report.code in _OF_THE_COPY
    return is_of_copy and standing.state is _S.PUBLISHED and standing.attempt < MAX_SENDS


def _worth_of_old(standing: Standing, report: ExecutionReport) -> Heard:
    """A state that was passed already is only an old word; another end than the known one is a contradiction."""
    if standing.is_final and report.state not in FINAL:
        return Heard.LATE if standing.state in _UNHEARD_OF else Heard.NOTHING_NEW
    return Heard.LATE if standing.is_final else Heard.NOTHING_NEW


def _progressed(standing: Standing, terms: Terms, report: ExecutionReport, now: datetime) -> tuple[Standing, Heard]:
    is_older = (report.step_index, report.progress_pct or 0) < (standing.step_index, standing.progress_pct or 0)
    if standing.is_final or is_older:
        return standing, Heard.NOTHING_NEW
    described = _described(standing, report)
    if described == standing:
        return replace(standing, deadline_at=_renewed(standing.state, terms, report, now)), Heard.NOTHING_NEW
    return replace(described, deadline_at=_renewed(standing.state, terms, report, now)), Heard.PROGRESS


def _described(standing: Standing, report: ExecutionReport) -> Standing:
    return replace(
        standing,
        outcome=standing.outcome if report.outcome is None else report.outcome.value,
        code=report.code,
        detail=report.detail,
        step=report.step or standing.step,
        step_index=max(report.step_index, standing.step_index),
        step_count=report.step_count or standing.step_count,
        progress_pct=standing.progress_pct if report.progress_pct is None else report.progress_pct,
        output_tail=report.output_tail or standing.output_tail,
        cancel_answer=report.cancel or standing.cancel_answer,
        holds=[] if report.state in FINAL else [condition.value for condition in report.holds],
        earliest_start=None if report.earliest_start_ms is None else from_ms(report.earliest_start_ms),
        overridden=_overridden(report) or standing.overridden,
        retries=max(report.retries, standing.retries),
    )


def _overridden(report: ExecutionReport) -> list[str]:
    return [*(condition.value for condition in report.overridden), *([PRE_CHECK] if report.is_forced else [])]


def _came_back(standing: Standing, report: ExecutionReport, at: datetime) -> tuple[Standing, Heard]:
    if standing.came_back_at is not None:
        return standing, Heard.NOTHING_NEW
    return replace(standing, came_back_at=at, detail=report.detail), Heard.CAME_BACK


def _moved(standing: Standing, terms: Terms, report: ExecutionReport, at: datetime, now: datetime) -> Standing:
    changes: dict[str, Any] = {"deadline_at": _renewed(report.state, terms, report, now)}
    match report.state:
        case _S.STORED:
            changes["stored_at"] = at
        case _S.RUNNING:
            changes["started_at"] = at
        case _S.VERIFYING:
            changes["verifying_at"] = at
            changes["hold_until"] = None if report.hold_until_ms is None else from_ms(report.hold_until_ms)
    return _described(_step(standing, report.state, **changes), report)


def _renewed(state: ExecutionState, terms: Terms, report: ExecutionReport, now: datetime) -> datetime | None:
    match TABLE[state].limit:
        case Limit.SOAK:
            longest = now + timedelta(seconds=terms.soak_s)
            hold_until = longest if report.hold_until_ms is None else from_ms(report.hold_until_ms)
            # The device's clock may say anything: no hold is believed to last a day longer than was declared.
            return min(hold_until, longest + timedelta(days=1)) + _HOLD_GRACE
        case Limit.REQUEST_AND_RUN:
            return max(terms.queued_until, now + terms.running_timeout) + _GRACE
        case _ if report.holds:
            # Between two steps it waits as long as the request holds.
            return max(terms.queued_until, now + terms.running_timeout) + _GRACE
    return now + terms.running_timeout


def _finish(standing: Standing, state: ExecutionState, now: datetime, *, code: str) -> Standing:
    return _step(standing, state, deadline_at=None, finished_at=now, code=code, holds=[], earliest_start=None)


def _step(standing: Standing, state: ExecutionState, **changes: Any) -> Standing:
    """The only way from one state to another. The same state again is no move."""
    if state is not standing.state and not may_follow(standing.state, state):
        raise ValueError(f"expected a move that the table has from {standing.state}, came {state}")
    return replace(standing, state=state, **changes)
