"""What the checks after a fix prove: that it helped, that it did not, that it came back, or nothing."""

from __future__ import annotations

from typing import Final

from protocol.capabilities import Action
from protocol.executions import CAME_BACK_CODE, ExecutionState
from protocol.records import Outcome
from protocol.safety import Effect

OTHER_DEVICE: Final = "other_device"
# What a step says that has brought back what was there before.
ROLLED_BACK_CODE: Final = "rolled_back"
# What restarts may be silent or half up for so long beyond the outage that was declared.
_GRACE_S: Final = 10.0


def settle_s(action: Action) -> float:
    """How long the check after the steps may fail before it counts. What causes no outage shows its effect at once."""
    return action.expected_s + (action.outage_s + _GRACE_S if action.outage_s else 0.0)


def booted_since(effect: Effect, before: str, boot: str) -> bool | None:
    """Whether a device booted since a step that reboots it was begun; None where that cannot be told."""
    return boot != before if effect is Effect.REBOOTS and before and boot else None


def ended_as(outcome: Outcome, error: str, detail: str, *, is_last: bool) -> tuple[str, str]:
    """Code and words of a fix whose check after it did not pass. ``error``: it could not be run at all."""
    if error == OTHER_DEVICE:
        return OTHER_DEVICE, f"what was treated cannot be told: {detail}"
    if error or outcome in {Outcome.ERROR, Outcome.UNSUPPORTED}:
        return "post_check_error", f"the check after the steps could not tell. {detail}".strip()
    if is_last:
        return CAME_BACK_CODE, "it came back within the soak"
    return "post_check_failed", "the check after the steps does not pass"


def stopped_as(error: str) -> ExecutionState:
    """The end of a fix whose step could not be done."""
    return ExecutionState.ROLLED_BACK if error == ROLLED_BACK_CODE else ExecutionState.FAILED
