"""Words for devices on their way in and out, complete over their enumerations."""

from __future__ import annotations

from collections.abc import Mapping

from fleet_server.console.language import N_

ENROLMENT_STATES: Mapping[str, str] = {
    "open": N_("not used yet"),
    "pending": N_("waits for a person"),
    "approved": N_("may come in"),
    "done": N_("came in"),
    "refused": N_("was turned away"),
    "withdrawn": N_("withdrawn"),
}
RETIREMENT_REASONS: Mapping[str, str] = {
    "stolen": N_("stolen or lost"),
    "swapped": N_("swapped for another"),
    "retired": N_("no longer in use"),
    "compromised": N_("its key is in other hands"),
}
TERMINAL_CLASSES: Mapping[str, str] = {
    "e_sign": N_("terminal with signature"),
    "traditional": N_("traditional terminal"),
    "smart": N_("smart terminal"),
    "kiosk": N_("kiosk"),
}
