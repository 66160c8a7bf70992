"""The states of an execution as one table: who says each, what bounds it in time, and what may follow.

Server, agent, console and simulators ask this table; none of them states an order of its own. Reports may be
coalesced or shed, so a state may be skipped; none is gone back to, except that what the broker was given and the device
did not store is queued again.

Invariants: final states absorb; each other state has a limit in time, and something final follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Final

from protocol.commands import ActionKind


class ExecutionState(StrEnum):
    DRAFT = "DRAFT"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    QUEUED = "QUEUED"
    PUBLISHED = "PUBLISHED"
    STORED = "STORED"
    AWAITING_CONSENT = "AWAITING_CONSENT"
    WAITING_SAFE = "WAITING_SAFE"
    RUNNING = "RUNNING"
    VERIFYING = "VERIFYING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    UNREACHABLE = "UNREACHABLE"
    TIMED_OUT = "TIMED_OUT"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"
    UNKNOWN = "UNKNOWN"
    INCONSISTENT = "INCONSISTENT"


class Limit(Enum):
    """What a state's deadline is taken from."""

    REQUEST = "request"  # until when the request holds
    ANSWER = "answer"  # a device answers a command at once
    REQUEST_AND_RUN = "request_and_run"  # the device ends a wait with the request; its word needs a while
    RUN = "run"  # what the action may take, renewed by progress
    SOAK = "soak"  # until the effect has held long enough
    NONE = "none"


class Speaker(Enum):
    SERVER = "server"
    DEVICE = "device"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Rule:
    speaker: Speaker
    limit: Limit
    next: frozenset[ExecutionState]


_S = ExecutionState
# Ends that a device can tell, at any time after it has a command.
_DEVICE_ENDS: Final = frozenset(
    {
        *(_S.SUCCEEDED, _S.FAILED, _S.ROLLED_BACK, _S.REJECTED, _S.EXPIRED, _S.CANCELLED, _S.SUPERSEDED),
        *(_S.UNKNOWN, _S.INCONSISTENT),
    }
)
_FROM_VERIFYING: Final = _DEVICE_ENDS | {_S.TIMED_OUT}
_FROM_RUNNING: Final = _FROM_VERIFYING | {_S.VERIFYING}
_FROM_SAFE: Final = _FROM_RUNNING | {_S.RUNNING}
_FROM_CONSENT: Final = _FROM_SAFE | {_S.WAITING_SAFE}
_FROM_STORED: Final = _FROM_CONSENT | {_S.AWAITING_CONSENT}
# What a device may be found at when it is heard of again.
_FROM_SENT: Final = (_FROM_STORED - {_S.TIMED_OUT}) | {_S.STORED, _S.UNREACHABLE}
_UNSENT_ENDS: Final = frozenset({_S.CANCELLED, _S.EXPIRED, _S.SUPERSEDED})
_END = Rule(Speaker.DEVICE, Limit.NONE, frozenset())
_SERVER_END = Rule(Speaker.SERVER, Limit.NONE, frozenset())
_EITHER_END = Rule(Speaker.EITHER, Limit.NONE, frozenset())

TABLE: Final = {
    _S.DRAFT: Rule(Speaker.SERVER, Limit.REQUEST, _UNSENT_ENDS | {_S.AWAITING_APPROVAL, _S.QUEUED}),
    _S.AWAITING_APPROVAL: Rule(Speaker.SERVER, Limit.REQUEST, _UNSENT_ENDS | {_S.QUEUED}),
    # Queued again after it was sent, it may still be answered.
    _S.QUEUED: Rule(Speaker.SERVER, Limit.REQUEST, _FROM_SENT | {_S.PUBLISHED}),
    _S.PUBLISHED: Rule(Speaker.SERVER, Limit.ANSWER, _FROM_SENT | {_S.QUEUED}),
    _S.STORED: Rule(Speaker.DEVICE, Limit.REQUEST_AND_RUN, _FROM_STORED),
    _S.AWAITING_CONSENT: Rule(Speaker.DEVICE, Limit.REQUEST_AND_RUN, _FROM_CONSENT),
    _S.WAITING_SAFE: Rule(Speaker.DEVICE, Limit.REQUEST_AND_RUN, _FROM_SAFE),
    _S.RUNNING: Rule(Speaker.DEVICE, Limit.RUN, _FROM_RUNNING),
    _S.VERIFYING: Rule(Speaker.DEVICE, Limit.SOAK, _FROM_VERIFYING),
    _S.SUCCEEDED: _END,
    _S.FAILED: _END,
    _S.ROLLED_BACK: _END,
    _S.REJECTED: _END,
    _S.EXPIRED: _EITHER_END,
    _S.UNREACHABLE: _SERVER_END,
    _S.TIMED_OUT: _SERVER_END,
    _S.CANCELLED: _EITHER_END,
    _S.SUPERSEDED: _EITHER_END,
    _S.UNKNOWN: _END,
    _S.INCONSISTENT: _END,
}
FINAL: Final = frozenset(state for state, rule in TABLE.items() if rule.limit is Limit.NONE)
# Only these may be said by a device; the others are the server's own.
DEVICE_STATES: Final = frozenset(state for state, rule in TABLE.items() if rule.speaker is not Speaker.SERVER)
# The device may never have heard of it: people have not allowed it, it waits, or it is on its way.
UNANSWERED: Final = frozenset(
    state for state, rule in TABLE.items() if rule.speaker is Speaker.SERVER and state not in FINAL
)
# Of these nothing has left the server, unless it was sent before and is queued again.
UNSENT: Final = frozenset(state for state in UNANSWERED if TABLE[state].limit is Limit.REQUEST)
# Between the queue and the end: shown as on the way.
SENDING: Final = UNANSWERED & TABLE[_S.QUEUED].next | {_S.QUEUED}
# No word came: a result of its own, whatever may have happened at the device.
NO_WORD: Final = frozenset({_S.UNREACHABLE, _S.TIMED_OUT})


def may_follow(current: ExecutionState, reported: ExecutionState) -> bool:
    """Whether ``reported`` moves an execution on from ``current``. The same state again is progress, not a move."""
    return reported in TABLE[current].next


def has_reached(current: ExecutionState, state: ExecutionState) -> bool:
    """Whether an execution at ``current``, not final, is at ``state`` or past it: the table is in the order of life."""
    order = list(TABLE)
    return order.index(current) >= order.index(state)


class CancelAnswer(StrEnum):
    """What a device says to the wish to end what it has begun."""

    REFUSED = "refused"  # its last step is running or done
    AFTER_STEP = "after_step"  # it stops between the present step and the next


class Result(StrEnum):
    """What came of it, in one word for people and programs: never more than is known."""

    RAN = "ran"  # a check or test; what it found is its verdict
    NOT_RUN = "not_run"  # a check or test that could not be done
    FIXED = "fixed"
    NOT_FIXED = "not_fixed"
    CAME_BACK = "came_back"
    NOT_TOLD = "not_told"  # whether it helped, or happened, could not be told
    NOT_NEEDED = "not_needed"
    NOTHING_DONE = "nothing_done"
    NO_ANSWER = "no_answer"


# How long a device watches, after the end of a fix, for the faults that it was for.
WATCHED_FOR: Final = timedelta(hours=24)
NOT_NEEDED_CODE: Final = "not_needed"
CAME_BACK_CODE: Final = "came_back"
# Ends of a fix after which nobody can say whether the fault is gone.
UNTOLD_CODES: Final = frozenset(
    {"post_check_error", "other_device", "timed_out", "interrupted", "device_not_answering"}
)
STOPPED_CODE: Final = "stopped_between_steps"
_NOTHING_DONE: Final = frozenset({_S.REJECTED, _S.EXPIRED, _S.CANCELLED, _S.SUPERSEDED})
_CANNOT_BE_TOLD: Final = frozenset({_S.UNKNOWN, _S.INCONSISTENT})


def result_of(kind: ActionKind, state: ExecutionState, code: str, *, came_back: bool = False) -> Result | None:
    """None while it goes on. ``came_back``: the fault was seen again after it had been proved gone."""
    if state not in FINAL:
        return None
    if state in NO_WORD:
        return Result.NO_ANSWER
    if state in _CANNOT_BE_TOLD or code == STOPPED_CODE:
        return Result.NOT_TOLD
    if state in _NOTHING_DONE:
        return Result.NOTHING_DONE
    if kind is not ActionKind.FIX:
        return Result.RAN if state is _S.SUCCEEDED else Result.NOT_RUN
    return _of_fix(state, code, came_back=came_back)


def _of_fix(state: ExecutionState, code: str, *, came_back: bool) -> Result:
    if code == NOT_NEEDED_CODE:
        return Result.NOT_NEEDED
    if came_back or code == CAME_BACK_CODE:
        return Result.CAME_BACK
    if state is _S.SUCCEEDED:
        return Result.FIXED
    return Result.NOT_TOLD if code in UNTOLD_CODES else Result.NOT_FIXED
