"""Trying a part of an action again when nobody answered it: as often as the action declares, with growing waits.

Only what may be repeated is: a check, or a step that is idempotent or whose probe says that it did not happen.
"""

from __future__ import annotations

import zlib
from typing import Final

from protocol.capabilities import Action
from protocol.commands import ActionKind
from protocol.identifiers import ExecutionId

# Errors that say nothing about the device but that it was not heard.
TRANSIENT: Final = frozenset({"device_not_answering", "busy"})
# Somebody waits for a check.
FIRST_WAIT_S: Final = {ActionKind.CHECK: 1.0, ActionKind.TEST: 10.0, ActionKind.FIX: 10.0}
_LONGEST_S: Final = 12 * 3600.0
_JITTER: Final = 0.25


def may_retry(action: Action, error: str, retries: int) -> bool:
    return error in TRANSIENT and retries < action.retries


def wait_s(action: Action, execution: ExecutionId, retries: int) -> float:
    """Doubling, spread by a quarter either way: the same for one execution, another for the next."""
    spread = zlib.crc32(f"{execution}/{retries}".encode()) / 2**32 * 2 - 1
    return min(FIRST_WAIT_S[action.kind] * 2.0**retries, _LONGEST_S) * (1 + _JITTER * spread)
