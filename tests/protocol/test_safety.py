from __future__ import annotations

import pytest

from protocol.safety import Answer, Condition, Effect, answer, holding

EVERYTHING_BUT_A_SALE = sorted(frozenset(Condition) - {Condition.TRANSACTION_RUNNING, Condition.CANNOT_TRADE})


def test_reading_is_never_held() -> None:
    assert answer(Effect.READS, frozenset(Condition)) is Answer.GO


@pytest.mark.parametrize("effect", [effect for effect in Effect if effect is not Effect.READS])
def test_nothing_that_changes_starts_in_a_running_transaction(effect: Effect) -> None:
    assert answer(effect, {Condition.TRANSACTION_RUNNING}) is Answer.WAIT
    assert Condition.TRANSACTION_RUNNING in holding(effect, {Condition.TRANSACTION_RUNNING, Condition.CANNOT_TRADE})


def test_ways_out_of_an_open_batch_are_not_held_by_it() -> None:
    assert answer(Effect.WAY_OUT, EVERYTHING_BUT_A_SALE) is Answer.GO


@pytest.mark.parametrize("held", EVERYTHING_BUT_A_SALE)
def test_reboot_of_a_terminal_that_trades_waits(held: Condition) -> None:
    assert answer(Effect.REBOOTS, {held}) is Answer.WAIT
    assert answer(Effect.REBOOTS, {held, Condition.CANNOT_TRADE}) is Answer.GO


@pytest.mark.parametrize("money", [Condition.PAYMENTS_UNSENT, Condition.REVERSALS_PENDING])
def test_what_could_destroy_money_is_refused_even_when_the_terminal_cannot_trade(money: Condition) -> None:
    assert answer(Effect.DESTROYS_DATA, {money, Condition.CANNOT_TRADE}) is Answer.REFUSE
