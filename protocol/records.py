"""Health samples, faults, results: what an agent can say about a device, once, for ever.

A record has no sequence number of its own: it gets it from its place in the batch (`protocol.streams`). Wall times are
notes; the server keeps its own received-at. Every free text has been scrubbed of card data before it became a record.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.commands import MAX_RETRIES
from protocol.executions import CancelAnswer, ExecutionState
from protocol.identifiers import (
    WireAction,
    WireCode,
    WireDevice,
    WireExecution,
    WireHex128,
    WireMetric,
    WireMillis,
    WireSeq,
)
from protocol.safety import MAX_CONDITIONS, Condition

MAX_COLUMNS = 128
MAX_STEPS = 120
MAX_EVIDENCE_CHARS = 512
MAX_OUTPUT_CHARS = 4096
MAX_CODES = 16

Evidence = Annotated[str, Meta(max_length=MAX_EVIDENCE_CHARS)]
OutputTail = Annotated[str, Meta(max_length=MAX_OUTPUT_CHARS)]
ShortText = Annotated[str, Meta(max_length=160)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Holds = Annotated[list[Condition], Meta(max_length=MAX_CONDITIONS)]
# What one sample of one metric may be; null means not measured, which is not zero.
MAX_SAMPLE_CHARS = 64
WireStepMs = Annotated[int, Meta(ge=1, le=86_400_000)]
WireSteps = Annotated[int, Meta(ge=1, le=MAX_STEPS)]
Sample = float | int | Annotated[str, Meta(max_length=MAX_SAMPLE_CHARS)] | None


class Severity(StrEnum):
    INFO = "info"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class Outcome(StrEnum):
    """What a check found. ERROR: it could not be told; UNSUPPORTED: this device cannot be asked."""

    PASS = "pass"  # noqa: S105 - an outcome, not a secret
    WARN = "warn"
    FAIL = "fail"
    ERROR = "error"
    UNSUPPORTED = "unsupported"


class Phase(StrEnum):
    """Which part of an execution a verdict belongs to."""

    RESULT = "result"
    PRE_CHECK = "pre_check"
    POST_CHECK = "post_check"
    LATER = "later"  # a fix's post-check once more, after it had been proved


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """A record's body: a closed set told apart by ``kind``."""


class HealthColumns(_Body, frozen=True, tag="health_columns"):
    """``steps`` samples of some metrics, one array a metric, from ``start_ms`` every ``step_ms``."""

    start_ms: WireMillis
    step_ms: WireStepMs
    steps: WireSteps
    columns: Annotated[
        dict[WireMetric, Annotated[list[Sample], Meta(min_length=1, max_length=MAX_STEPS)]],
        Meta(max_length=MAX_COLUMNS),
    ]


class FaultRaised(_Body, frozen=True, tag="fault_raised"):
    code: WireCode
    severity: Severity
    first_seen_ms: WireMillis
    last_seen_ms: WireMillis
    count: Count = 1
    evidence: Evidence = ""


class FaultCleared(_Body, frozen=True, tag="fault_cleared"):
    """``raised_ms`` names the raising that ends: a clearing that overtakes its raising still ends it."""

    code: WireCode
    raised_ms: WireMillis
    cleared_ms: WireMillis
    count: Count = 1
    evidence: Evidence = ""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    low: float | None = None
    high: float | None = None


class Verdict(_Body, frozen=True, tag="verdict"):
    """The result of one check, of one item of a full check, or of a fix's pre- or post-check."""

    action: WireAction
    outcome: Outcome
    item: ShortText = ""  # which part of the check, when it has several; metric id or a plain name
    execution: WireExecution | None = None
    phase: Phase = Phase.RESULT
    value: Sample = None
    unit: ShortText = ""
    limits: Limits | None = None
    evidence: Evidence = ""
    codes: Annotated[list[WireCode], Meta(max_length=MAX_CODES)] = []
    duration_ms: Count = 0


class ExecutionReport(_Body, frozen=True, tag="execution_state"):
    """The agent's word on one execution. ``code`` says why for FAILED, REJECTED and the like.

    SUCCEEDED once more with the code `CAME_BACK_CODE`: a fault that the fix was for was seen again later.
    """

    execution: WireExecution
    state: ExecutionState
    step: ShortText = ""
    step_index: Annotated[int, Meta(ge=0, le=64)] = 0
    step_count: Annotated[int, Meta(ge=0, le=64)] = 0
    progress_pct: Annotated[int, Meta(ge=0, le=100)] | None = None
    outcome: Outcome | None = None
    code: Annotated[str, Meta(max_length=80)] = ""
    detail: Evidence = ""
    output_tail: OutputTail = ""
    hold_until_ms: WireMillis | None = None  # while VERIFYING: when the soak ends, on the device's trusted clock
    holds: Holds = []  # what it waits for now, before it begins or between two steps
    earliest_start_ms: WireMillis | None = None  # no sooner than this, as far as a clock can tell
    overridden: Holds = []  # what it would have waited for, had nobody overridden it
    is_forced: bool = False  # the check before found nothing wrong, and somebody wants the fix all the same
    cancel: CancelAnswer | None = None
    retries: Annotated[int, Meta(ge=0, le=MAX_RETRIES)] = 0  # how often a part was tried again because nobody answered


class SecurityEvent(_Body, frozen=True, tag="security_event"):
    """A refused command, a scrubbed card number, a changed trust anchor: counted, bounded, never the secret itself."""

    code: WireCode
    detail: Evidence = ""
    count: Count = 1


class Tombstone(_Body, frozen=True, tag="tombstone"):
    """Records ``first_seq`` to ``last_seq`` of ``stream`` were given up before the server had them."""

    stream: WireHex128
    first_seq: WireSeq
    last_seq: WireSeq
    rank: Annotated[int, Meta(ge=0, le=9)]
    count: Count
    reason: ShortText


class SpoolLost(_Body, frozen=True, tag="spool_lost"):
    old_stream: WireHex128
    last_known_seq: Count
    salvaged: Count


RecordBody = (
    HealthColumns | FaultRaised | FaultCleared | Verdict | ExecutionReport | SecurityEvent | Tombstone | SpoolLost
)


class FirstKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """The number that a record had before its spool's file was damaged: the server may have it under that."""

    stream: WireHex128
    seq: WireSeq


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``device`` is the link itself or a device attached to it. ``was``: of a record saved from a damaged spool."""

    device: WireDevice
    boot: WireHex128
    mono_ms: WireMillis
    wall_ms: WireMillis
    body: RecordBody
    was: FirstKey | None = None
