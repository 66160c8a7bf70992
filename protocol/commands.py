"""What a server may ask of a device; `protocol.executions` has the states that an execution of it goes through.

Actions are of three kinds. A check (class 0) reads and changes nothing. A test (class 1) does something visible or
costly and gives a verdict. A fix (class 1 or 2) has pre-check, steps, post-check and soak.
"""

from __future__ import annotations

from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.identifiers import (
    ActionName,
    WireAction,
    WireDevice,
    WireExecution,
    WireHex128,
    WireMillis,
    WireSha256,
)
from protocol.merkle import MAX_PATH
from protocol.parameters import Params

COMMAND_TYPE = "application/vnd.tillmedic.command+json"
AUTHORISATION_TYPE = "application/vnd.tillmedic.authorisation+json"
MAX_COMMAND_BYTES = 64 * 1024
MAX_TARGETS = 100
# Replay window per device and key, as in RFC 4303.
COUNTER_WINDOW = 1024
# How often a device may try a part of an action again by itself.
MAX_RETRIES: Final = 5

# Asks for an execution to be ended; parameter ``execution``. Its answer is an execution state of that execution.
CANCEL: Final = ActionName("execution.cancel")
# Brings the digits that the merchant read out; parameters ``execution`` and ``code``. Answered by a state as well.
CONSENT: Final = ActionName("execution.consent")
CONSENT_DIGITS: Final = 6
CONSENT_TRIES: Final = 5
CONSENT_FOR: Final = timedelta(minutes=10)
# Codes made on one terminal in an hour, whoever asks.
CONSENT_CODES_PER_HOUR: Final = 3


class ActionKind(StrEnum):
    CHECK = "check"
    TEST = "test"
    FIX = "fix"


class DangerClass(IntEnum):
    READS = 0
    CHANGES = 1
    SOFTWARE = 2


class Refusal(StrEnum):
    """Why a device refuses a command, in the order in which it looks."""

    TOO_LARGE = "too_large"
    NOT_DECODABLE = "not_decodable"
    SIGNATURE = "signature"
    AUDIENCE = "audience"
    UNKNOWN_ACTION = "unknown_action"
    REPLAYED = "replayed"
    SESSION_NONCE = "session_nonce"
    TOO_LATE = "too_late"
    PARAMETERS = "parameters"
    SWITCHED_OFF = "switched_off"
    STOPPED = "stopped"
    CONSENT_UNAVAILABLE = "consent_unavailable"
    AUTHORISATION_MISSING = "authorisation_missing"
    AUTHORISATION_SIGNATURES = "authorisation_signatures"
    REQUESTER = "requester"
    AUTHORISATION_SCOPE = "authorisation_scope"
    AUTHORISATION_TIME = "authorisation_time"
    AUTHORISATION_USED_UP = "authorisation_used_up"
    ARTIFACT = "artifact"


class TargetProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That ``audience`` is the entry at ``index`` of the list whose root the authorisation names."""

    index: Annotated[int, Meta(ge=0, le=2**32)]
    path: Annotated[list[WireSha256], Meta(max_length=MAX_PATH)]


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One order to one device, signed by the online key at the moment of sending.

    Class 1 and 2 carry the session nonce of the link's last hello, the account of whoever asks, and the authorisation
    (a DSSE envelope as JSON text) with the SHA-256 of it. Class 1 may instead ask for the merchant's ``consent``.
    """

    version: Annotated[int, Meta(ge=1, le=1000)]
    audience: WireDevice
    tenant: Annotated[str, Meta(max_length=64)]
    execution: WireExecution
    action: WireAction
    danger_class: DangerClass
    params: Params
    issued_at_ms: WireMillis
    not_after_ms: WireMillis
    counter: Annotated[int, Meta(ge=1, le=2**53)]
    nonce: WireHex128 | None = None
    supersedes: WireExecution | None = None
    skip_if_passing: bool = True  # a fix whose pre-check finds nothing wrong is not run unless asked to
    override_holds: bool = False  # ``requester`` takes it upon themselves; a running payment holds all the same
    authorisation_sha256: WireSha256 | None = None
    authorisation: Annotated[str, Meta(max_length=MAX_COMMAND_BYTES)] | None = None
    target_proof: TargetProof | None = None
    requester: Annotated[str, Meta(max_length=120)] = ""
    consent: bool = False


QUEUE_EXPIRY: Final = {
    ActionKind.CHECK: timedelta(minutes=15),
    ActionKind.TEST: timedelta(minutes=15),
    ActionKind.FIX: timedelta(hours=24),
}
RUNNING_TIMEOUT: Final = {
    ActionKind.CHECK: timedelta(seconds=60),
    ActionKind.TEST: timedelta(minutes=5),
    ActionKind.FIX: timedelta(minutes=15),
}
# A fix is proved when its post-check still passes this long after it first passed, unless it declares another.
SOAK_S: Final = 60.0
