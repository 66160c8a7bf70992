"""How a simulated terminal deceives whoever mends it: it says yes, and the fault is there all the same.

A deceit is no fault of the fault model: it is what makes a fix that "worked" worthless. Nothing of it shows in the
terminal's answers to the order itself.
"""

from __future__ import annotations

import copy
from enum import StrEnum
from typing import TYPE_CHECKING

from simulators import terminal_calls
from simulators.terminal_calls import CHANGING, Args, CallRefused

if TYPE_CHECKING:
    from simulators.terminal import SimulatedTerminal
    from simulators.terminal_state import TerminalMemory


class Deceit(StrEnum):
    ACCEPTS_ONLY = "accepts_only"  # every order is accepted, none is carried out
    REVERTS_AT_REBOOT = "reverts_at_reboot"  # what an order changed is as before after the next boot
    CANNOT_TELL_AFTER = "cannot_tell_after"  # after the first order no question is answered any more


# What a terminal says to an order that it carried out, where it says more than yes.
_YES: dict[str, object] = {
    "print_test": {"printed": True, "status": "ok"},
    "sign_in": {"approved": True, "response_code": terminal_calls.APPROVED},
    "network_scan": {"operators": []},
}
_KEPT_OVER_BOOT = ("boot", "booted_s", "boot_reason", "boots_24h", "down_until_s", "trade")


class Deceiver:
    """One terminal's deceit, and what it remembers for it."""

    def __init__(self, deceit: Deceit) -> None:
        self.deceit = deceit
        self.orders = 0
        self._before: TerminalMemory | None = None

    def answer(self, terminal: SimulatedTerminal, call: str, args: Args) -> object:
        if call not in CHANGING:
            if self.deceit is Deceit.CANNOT_TELL_AFTER and self.orders and call not in {"safety", "describe"}:
                raise CallRefused("internal", f"{call}: the service failed")
            return terminal_calls.answer(terminal, call, args)
        if self.deceit is not Deceit.ACCEPTS_ONLY:
            before = self._before or copy.deepcopy(terminal.memory)
            answer = terminal_calls.answer(terminal, call, args)
            self._before, self.orders = before, self.orders + 1
            return answer
        if terminal_calls.is_paying(terminal):
            raise CallRefused("transaction_running", f"{call}: a payment is running")
        self.orders += 1
        return _YES.get(call, {})

    def on_boot(self, terminal: SimulatedTerminal) -> None:
        """The fault and the settings of before are back; payments and the boot itself are not touched."""
        if self.deceit is not Deceit.REVERTS_AT_REBOOT or self._before is None:
            return
        kept = {name: getattr(terminal.memory, name) for name in _KEPT_OVER_BOOT}
        terminal.memory = copy.deepcopy(self._before)
        for name, value in kept.items():
            setattr(terminal.memory, name, value)
