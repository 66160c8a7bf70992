"""When an action may start: one table of what an action does against what the terminal is in the middle of.

A running transaction holds everything that changes something. A terminal that trades is also held by an open batch,
unsent payments and pending reversals, its battery, its data budget and its window; one that cannot trade is held only
by a running transaction and by what the action could destroy. The ways out of an open batch (upload, sign-in,
settlement) are never held by it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Effect(StrEnum):
    """What an action does to the terminal, as far as safety is concerned."""

    READS = "reads"
    VISIBLE = "visible"  # paper, radio, screen: a test
    WAY_OUT = "way_out"  # upload, sign-in, settlement
    TIDIES = "tidies"  # rotates logs, sets the clock, re-registers the modem: no outage of the application
    RESTARTS_APP = "restarts_app"
    CHANGES_PARAMETERS = "changes_parameters"
    REBOOTS = "reboots"
    DESTROYS_DATA = "destroys_data"  # reinstall, wipe, data repair


class Condition(StrEnum):
    TRANSACTION_RUNNING = "transaction_running"
    BATCH_OPEN = "batch_open"
    PAYMENTS_UNSENT = "payments_unsent"
    REVERSALS_PENDING = "reversals_pending"
    OUTSIDE_WINDOW = "outside_window"
    BATTERY_LOW = "battery_low"
    DATA_BUDGET_SPENT = "data_budget_spent"
    CANNOT_TRADE = "cannot_trade"


MAX_CONDITIONS: Final = 16


class Answer(StrEnum):
    GO = "go"
    WAIT = "wait"
    REFUSE = "refuse"


_MONEY = frozenset({Condition.PAYMENTS_UNSENT, Condition.REVERSALS_PENDING})
_TRADING_HOLDS = _MONEY | {
    Condition.BATCH_OPEN,
    Condition.OUTSIDE_WINDOW,
    Condition.BATTERY_LOW,
    Condition.DATA_BUDGET_SPENT,
}
_NEVER: frozenset[Condition] = frozenset()
_BUSY = frozenset({Condition.TRANSACTION_RUNNING})

# What holds an action while the terminal trades, and while it cannot.
HOLDS: Final[dict[Effect, tuple[frozenset[Condition], frozenset[Condition]]]] = {
    Effect.READS: (_NEVER, _NEVER),
    Effect.VISIBLE: (_BUSY, _BUSY),
    Effect.WAY_OUT: (_BUSY, _BUSY),
    Effect.TIDIES: (_BUSY, _BUSY),
    Effect.RESTARTS_APP: (_BUSY, _BUSY),
    Effect.CHANGES_PARAMETERS: (_BUSY | _TRADING_HOLDS, _BUSY),
    Effect.REBOOTS: (_BUSY | _TRADING_HOLDS, _BUSY),
    Effect.DESTROYS_DATA: (_BUSY | _TRADING_HOLDS, _BUSY | _MONEY),
}


# Not even a named person overrides these: somebody is paying.
NEVER_OVERRIDDEN: Final = _BUSY


@dataclass(frozen=True, slots=True)
class Judged:
    """``held``: what it waits for, or what it is refused for. ``overridden``: what somebody took upon themselves."""

    answer: Answer
    held: frozenset[Condition] = frozenset()
    overridden: frozenset[Condition] = frozenset()


def holding(effect: Effect, conditions: Collection[Condition]) -> frozenset[Condition]:
    """Which of ``conditions`` hold an action with this effect; empty means go."""
    trading, stuck = HOLDS[effect]
    return (stuck if Condition.CANNOT_TRADE in conditions else trading) & frozenset(conditions)


def judge(effect: Effect, conditions: Collection[Condition], *, overrides: bool = False) -> Judged:
    """``overrides``: a named person has said why it must not wait. Payments are never destroyed, whoever says so."""
    held = holding(effect, conditions)
    if effect is Effect.DESTROYS_DATA and held & _MONEY:
        return Judged(Answer.REFUSE, held & _MONEY)
    stays = held & NEVER_OVERRIDDEN if overrides else held
    return Judged(Answer.WAIT if stays else Answer.GO, stays, held - stays)
