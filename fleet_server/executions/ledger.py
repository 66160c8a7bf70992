"""The life of one execution, as pure decisions: what happened, and when, in; where it stands then, out.

States move only along `protocol.commands.TRANSITIONS`. Each state that is not final has a deadline, and `overdue` says
what passing it means. Reports may come twice, late and in any order.

Invariant: final states absorb; a standing has a deadline exactly when its state is not final.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from fleet_server.kit.times import from_ms
from protocol.commands import FINAL, RUNNING_TIMEOUT, ActionKind, ExecutionState, Refusal, may_follow
from protocol.records import ExecutionReport

# The device answers a command at once, so a missing answer means that it was lost on the way.
STORED_WITHIN = timedelta(seconds=20)
MAX_SENDS = 3
# A queued execution of an online device that could not be sent is looked at again after this long.
LOOK_AGAIN = timedelta(seconds=30)
_SEND_AGAIN_SOON = timedelta(seconds=1)
# A signer is started anew within seconds; what could not be signed goes out soon after.
_SIGN_AGAIN = timedelta(seconds=5)
# What a report needs from the terminal to here on a bad day, on top of what the work itself may take.
_GRACE = timedelta(seconds=30)
_HOLD_GRACE = timedelta(seconds=60)
# Refusals of one copy of a command, not of the execution: an old copy met a new session. A fresh copy may pass.
_OF_THE_COPY = frozenset({Refusal.SESSION_NONCE, Refusal.REPLAYED, Refusal.TOO_LATE})

_S = ExecutionState
_WAITING = frozenset({_S.STORED, _S.AWAITING_CONSENT, _S.WAITING_SAFE})


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
    published_at: datetime | None = None
    stored_at: datetime | None = None
    started_at: datetime | None = None
    verifying_at: datetime | None = None
    hold_until: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


class Heard(Enum):
    """What a report was worth."""

    MOVED = "moved"
    PROGRESS = "progress"
    NOTHING_NEW = "nothing_new"
    LATE = "late"  # contradicts where the execution stands: kept as evidence, changes nothing


def queued(terms: Terms) -> Standing:
    return Standing(_S.QUEUED, terms.queued_until)


def awaiting(terms: Terms) -> Standing:
    """People have to allow it first, within the time that it may wait."""
    return Standing(_S.AWAITING_APPROVAL, terms.queued_until)


def approved(standing: Standing, terms: Terms) -> Standing:
    return replace(standing, state=_S.QUEUED, deadline_at=terms.queued_until)


def refused(standing: Standing, now: datetime, *, detail: str) -> Standing:
    return replace(_finish(standing, _S.CANCELLED, now, code="approval_refused"), detail=detail[:300])


def sent(standing: Standing, now: datetime, *, jitter: float) -> Standing:
    """Handed to the broker (again). ``jitter``: 0 to 1, spreads the next look over a quarter of the wait."""
    attempt = standing.attempt + 1
    wait = STORED_WITHIN * 2 ** ((attempt - 1) % MAX_SENDS)
    return replace(
        standing,
        state=_S.PUBLISHED,
        attempt=attempt,
        published_at=now,
        deadline_at=now + wait * (1 + 0.25 * jitter),
        code="",
        detail="",
    )


def unsent(standing: Standing, terms: Terms, now: datetime, *, is_online: bool) -> Standing:
    """Waits in the queue: for the device's next hello, or, when it is online all the same, for another look."""
    look_at = now + LOOK_AGAIN if is_online else terms.queued_until
    return replace(standing, state=_S.QUEUED, deadline_at=min(terms.queued_until, look_at))


def unsigned(standing: Standing, terms: Terms, now: datetime, *, code: str, detail: str) -> Standing:
    """Waits in the queue because its command was not signed; ``code`` and ``detail`` say why until it is sent."""
    deadline_at = min(terms.queued_until, now + _SIGN_AGAIN)
    return replace(standing, state=_S.QUEUED, deadline_at=deadline_at, code=code, detail=detail[:300])


def cancelled(standing: Standing, now: datetime) -> Standing:
    return _finish(standing, _S.CANCELLED, now, code="cancelled")


def orphaned(standing: Standing, now: datetime) -> Standing:
    """Its device was retired: nobody will ever answer."""
    return _finish(standing, _S.CANCELLED, now, code="device_retired")


def overdue(standing: Standing, terms: Terms, now: datetime) -> Standing:
    """What passing the deadline means. PUBLISHED may be sent again instead: ask `may_send_again` first."""
    match standing.state:
        case _S.QUEUED | _S.DRAFT | _S.AWAITING_APPROVAL:
            if standing.cancel_asked_at is not None:
                return cancelled(standing, now)
            if now < terms.queued_until:
                return unsent(standing, terms, now, is_online=True)
            if standing.attempt > 0:
                return _finish(standing, _S.UNREACHABLE, now, code="not_answered_in_time")
            return _finish(standing, _S.EXPIRED, now, code="queue_expired")
        case _S.PUBLISHED:
            return _unanswered(standing, terms, now)
        case _:
            return _finish(standing, _S.TIMED_OUT, now, code=f"no_word_in_{standing.state.lower()}")


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
        return _progressed(standing, terms, report, now)
    if not may_follow(standing.state, report.state):
        return standing, _worth_of_old(standing, report)
    if _refused_only_the_copy(standing, report):
        again = replace(standing, state=_S.QUEUED, code=report.code, deadline_at=now + _SEND_AGAIN_SOON)
        return again, Heard.MOVED
    if report.state in FINAL:
        return _described(standing, report, state=report.state, deadline_at=None, finished_at=at), Heard.MOVED
    return _moved(standing, terms, report, at, now), Heard.MOVED


def _unanswered(standing: Standing, terms: Terms, now: datetime) -> Standing:
    if standing.cancel_asked_at is not None:
        return cancelled(standing, now)
    if now >= terms.queued_until:
        return _finish(standing, _S.UNREACHABLE, now, code="not_answered_in_time")
    return unsent(standing, terms, now, is_online=True)


def _refused_only_the_copy(standing: Standing, report: ExecutionReport) -> bool:
    is_of_copy = report.state is _S.REJECTED and report.code in _OF_THE_COPY
    return is_of_copy and standing.state is _S.PUBLISHED and standing.attempt < MAX_SENDS


def _worth_of_old(standing: Standing, report: ExecutionReport) -> Heard:
    """A state that was passed already is only an old word; another end than the known one is a contradiction."""
    if standing.is_final and report.state not in FINAL:
        unheard_of = standing.state in {_S.EXPIRED, _S.UNREACHABLE, _S.TIMED_OUT, _S.CANCELLED}
        return Heard.LATE if unheard_of else Heard.NOTHING_NEW
    return Heard.LATE if standing.is_final else Heard.NOTHING_NEW


def _progressed(standing: Standing, terms: Terms, report: ExecutionReport, now: datetime) -> tuple[Standing, Heard]:
    is_older = (report.step_index, report.progress_pct or 0) < (standing.step_index, standing.progress_pct or 0)
    if standing.is_final or is_older:
        return standing, Heard.NOTHING_NEW
    described = _described(standing, report)
    if described == standing:
        return replace(standing, deadline_at=_renewed(standing.state, terms, report, now)), Heard.NOTHING_NEW
    return replace(described, deadline_at=_renewed(standing.state, terms, report, now)), Heard.PROGRESS


def _described(standing: Standing, report: ExecutionReport, **changes: Any) -> Standing:
    return replace(
        standing,
        **changes,
        outcome=standing.outcome if report.outcome is None else report.outcome.value,
        code=report.code,
        detail=report.detail,
        step=report.step or standing.step,
        step_index=max(report.step_index, standing.step_index),
        step_count=report.step_count or standing.step_count,
        progress_pct=standing.progress_pct if report.progress_pct is None else report.progress_pct,
        output_tail=report.output_tail or standing.output_tail,
    )


def _moved(standing: Standing, terms: Terms, report: ExecutionReport, at: datetime, now: datetime) -> Standing:
    changes: dict[str, Any] = {"state": report.state, "deadline_at": _renewed(report.state, terms, report, now)}
    match report.state:
        case _S.STORED:
            changes["stored_at"] = at
        case _S.RUNNING:
            changes["started_at"] = at
        case _S.VERIFYING:
            changes["verifying_at"] = at
            changes["hold_until"] = None if report.hold_until_ms is None else from_ms(report.hold_until_ms)
    return _described(standing, report, **changes)


def _renewed(state: ExecutionState, terms: Terms, report: ExecutionReport, now: datetime) -> datetime | None:
    if state is _S.VERIFYING:
        longest = now + timedelta(seconds=terms.soak_s)
        hold_until = longest if report.hold_until_ms is None else from_ms(report.hold_until_ms)
        # The device's clock may say anything: no hold is believed to last a day longer than was declared.
        return min(hold_until, longest + timedelta(days=1)) + _HOLD_GRACE
    if state in _WAITING:
        return max(terms.queued_until, now + terms.running_timeout) + _GRACE
    return now + terms.running_timeout


def _finish(standing: Standing, state: ExecutionState, now: datetime, *, code: str) -> Standing:
    return replace(standing, state=state, deadline_at=None, finished_at=now, code=code)
