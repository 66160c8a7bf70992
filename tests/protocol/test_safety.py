from __future__ import annotations

import itertools

import pytest

from protocol.safety import NEVER_OVERRIDDEN, Answer, Condition, Effect, holding, judge

EVERYTHING_BUT_A_SALE = sorted(frozenset(Condition) - {Condition.TRANSACTION_RUNNING, Condition.CANNOT_TRADE})
MONEY = [Condition.PAYMENTS_UNSENT, Condition.REVERSALS_PENDING]
CHANGING = [effect for effect in Effect if effect is not Effect.READS]
LARGE = [Effect.CHANGES_PARAMETERS, Effect.REBOOTS]


def test_reading_is_never_held() -> None:
    assert judge(Effect.READS, frozenset(Condition)).answer is Answer.GO


@pytest.mark.parametrize("overrides", [False, True])
@pytest.mark.parametrize("effect", CHANGING)
def test_nothing_that_changes_starts_in_a_running_transaction_whoever_says_so(effect: Effect, overrides: bool) -> None:
    assert judge(effect, {Condition.TRANSACTION_RUNNING}, overrides=overrides).answer is Answer.WAIT
    assert Condition.TRANSACTION_RUNNING in holding(effect, {Condition.TRANSACTION_RUNNING, Condition.CANNOT_TRADE})


def test_ways_out_of_an_open_batch_are_not_held_by_it() -> None:
    assert judge(Effect.WAY_OUT, EVERYTHING_BUT_A_SALE).answer is Answer.GO


@pytest.mark.parametrize("effect", LARGE)
@pytest.mark.parametrize("held", EVERYTHING_BUT_A_SALE)
def test_what_keeps_it_from_trading_waits_while_it_trades_and_not_once_it_cannot(
    effect: Effect, held: Condition
) -> None:
    assert judge(effect, {held}).answer is Answer.WAIT
    assert judge(effect, {held, Condition.CANNOT_TRADE}).answer is Answer.GO


@pytest.mark.parametrize("overrides", [False, True])
@pytest.mark.parametrize("money", MONEY)
def test_what_could_destroy_money_is_refused_whatever_else_and_whoever_says_so(
    money: Condition, overrides: bool
) -> None:
    for others in ({Condition.CANNOT_TRADE}, set(EVERYTHING_BUT_A_SALE)):
        judged = judge(Effect.DESTROYS_DATA, {money, *others}, overrides=overrides)
        assert judged.answer is Answer.REFUSE
        assert money in judged.held


def test_an_override_lets_through_all_but_a_running_payment_and_says_what_it_let_through() -> None:
    judged = judge(Effect.REBOOTS, EVERYTHING_BUT_A_SALE, overrides=True)
    assert (judged.answer, judged.overridden) == (Answer.GO, frozenset(EVERYTHING_BUT_A_SALE))
    assert judge(Effect.REBOOTS, {Condition.CANNOT_TRADE}, overrides=True).overridden == frozenset()
    held = judge(Effect.REBOOTS, [*EVERYTHING_BUT_A_SALE, Condition.TRANSACTION_RUNNING], overrides=True)
    assert (held.answer, held.held) == (Answer.WAIT, NEVER_OVERRIDDEN)


def test_an_override_never_makes_anything_wait_longer() -> None:
    for effect in Effect:
        for count in range(4):
            for conditions in itertools.combinations(Condition, count):
                calm, bold = judge(effect, conditions), judge(effect, conditions, overrides=True)
                assert bold.held <= calm.held
                assert bold.held | bold.overridden == calm.held or calm.answer is Answer.REFUSE
