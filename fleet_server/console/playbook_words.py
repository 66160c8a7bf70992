"""Words for walks of playbooks, complete over their enumerations."""

from __future__ import annotations

from collections.abc import Mapping

from fleet_server.console.language import N_
from fleet_server.console.words import Shape
from protocol.playbooks.language import EndKind, Whom
from protocol.playbooks.walking import Why

WALKING = Shape("run", "go", N_("Being walked"))
CANCELLING = Shape("stop", "warn", N_("Is being ended"))
WAITING = Shape("wait", "calm", N_("Waits"))
WAITED = Shape("ok", "calm", N_("Waited"))
PLAYBOOK_MOVES: Mapping[str, Shape] = {
    "started": Shape("play", "calm", N_("Started")),
    "step": Shape("run", "calm", N_("Next step")),
    "cancelling": CANCELLING,
}
ENDS: Mapping[EndKind, Shape] = {
    EndKind.FIXED: Shape("proof", "ok", N_("Mended")),
    EndKind.NOTHING_WRONG: Shape("ok", "ok", N_("Nothing wrong")),
    EndKind.TECHNICIAN: Shape("user", "warn", N_("Send a technician")),
    EndKind.HANDOVER: Shape("out", "warn", N_("Somebody else has to act")),
    EndKind.UNDECIDED: Shape("unknown", "warn", N_("Somebody has to look")),
}
WHOM: Mapping[Whom, str] = {
    Whom.ACQUIRER: N_("The acquirer"),
    Whom.CARRIER: N_("The carrier"),
    Whom.SITE: N_("Whoever keeps the shop's network and place"),
    Whom.TERMINAL_MANAGEMENT: N_("Terminal management"),
}
# Why a walk came to none of its ends; the last two are the server's own.
WHY: Mapping[str, str] = {
    Why.NOT_TOLD.value: N_("The last step could not be done, or told nothing. So it is not guessed what is wrong."),
    Why.CANCELLED.value: N_("It was cancelled."),
    Why.EXPIRED.value: N_("Its time was up."),
    "refused": N_("The next step was refused."),
    "requester_gone": N_("The account of whoever started it may do nothing any more."),
}
STOPPED = Shape("stop", "calm", N_("Ended early"))
# By the highest class of its steps.
CLASSES: Mapping[int, str] = {0: N_("only looks"), 1: N_("may change the device")}
