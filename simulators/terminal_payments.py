"""A simulated terminal's trade: payments as they come, what is logged of them, and what the journal keeps.

A payment that the acquirer did not answer leaves a reversal waiting: it is somebody's money until it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulators.fault_plan import QUEUE_STUCK
from simulators.terminal_faults import send_queue
from simulators.terminal_log import TEST_CARDS
from simulators.terminal_state import MAX_JOURNAL, MAX_QUEUE, JournalEntry, QueuedItem, QueuedKind

if TYPE_CHECKING:
    from simulators.terminal import SimulatedTerminal

PAYMENT_TAKES_S = 2.0
# One payment in so many is logged with its whole card number, as careless code does.
_CARELESS_EVERY = 4
# Of the host's usual answer time.
_LATENCY_MS = (900, 2600)


def trade_when_due(terminal: SimulatedTerminal) -> None:
    trade = terminal.memory.trade
    now_s = terminal.now().mono_s
    is_due = terminal.trade_every_s > 0 and now_s - trade.last_attempt_s >= terminal.trade_every_s
    if is_due and terminal.is_app_alive() and not terminal.is_down():
        pay(terminal)


def pay(terminal: SimulatedTerminal) -> str | None:
    """One payment; its field 39, or None when no answer came."""
    trade, at = terminal.memory.trade, terminal.wall_clock()
    trade.trace += 1
    amount_cents = terminal.random.randrange(500, 48_000)
    card = TEST_CARDS[trade.trace % len(TEST_CARDS)]
    masked = f"{card[:6]}******{card[-4:]}"
    shown_card = card if trade.trace % _CARELESS_EVERY == 0 else masked
    trade.last_attempt_s = terminal.now().mono_s
    trade.busy_until_s = trade.last_attempt_s + PAYMENT_TAKES_S
    terminal.log.payment_begins(at, trade.trace, amount_cents, shown_card)
    failure = terminal.host_code()
    if failure is not None:
        terminal.log.failed(at, failure)
        if failure == "term.HOST_TIMEOUT" and len(trade.queue) < MAX_QUEUE:
            trade.queue.append(QueuedItem(QueuedKind.REVERSAL, trade.trace, amount_cents, terminal.now().mono_s))
        return None
    if QUEUE_STUCK not in terminal.memory.faults:
        # What waits goes before the next payment, as the acquirers' rules for reversals ask.
        send_queue(terminal.situation())
    code = next(iter(terminal.response_codes()), "00")
    terminal.log.answered(at, trade.trace, code, terminal.random.randrange(*_LATENCY_MS))
    _keep(terminal, JournalEntry(trade.trace, amount_cents, code, masked))
    return code


def meet_fault(terminal: SimulatedTerminal, name: str) -> None:
    """Somebody tries to pay, and what the application says about the fault stands in its log."""
    for code in terminal.logged_codes(name):
        terminal.log.failed(terminal.wall_clock(), code)
    if terminal.trade_every_s > 0 and terminal.response_codes():
        pay(terminal)


def meet_mending(terminal: SimulatedTerminal) -> None:
    if terminal.trade_every_s > 0 and terminal.can_trade():
        pay(terminal)


def _keep(terminal: SimulatedTerminal, entry: JournalEntry) -> None:
    trade = terminal.memory.trade
    trade.journal.append(entry)
    del trade.journal[:-MAX_JOURNAL]
    terminal.log.keep(entry)
    if entry.response_code == "00":
        trade.last_payment_s = terminal.now().mono_s
        trade.batch_count += 1
        # The cause of a full batch is that it is not settled by itself.
        if trade.batch_count >= terminal.settle_after and "batch_full" not in terminal.memory.faults:
            trade.batch_count, trade.settled_s = 0, trade.last_payment_s
