"""What the terminal service answers, call by call: untrusted text parsed once into typed values.

Unknown fields are ignored, so that a newer vendor service does not break an older agent; what is missing or of the
wrong type makes the whole answer unusable. Every text and list has its bound here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, field

from protocol.identifiers import WireCode, WireMetric, WireMillis

ShortText = Annotated[str, Meta(max_length=120)]
LineText = Annotated[str, Meta(max_length=1024)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Span = Annotated[float, Meta(ge=0, le=1e9)]
Percent = Annotated[float, Meta(ge=0, le=100)]
ReadingValue = bool | int | float | Annotated[str, Meta(max_length=64)]
Readings = Annotated[dict[WireMetric, ReadingValue], Meta(max_length=160)]


class Description(msgspec.Struct, frozen=True):
    model: ShortText
    firmware: ShortText
    terminal_class: Annotated[str, Meta(pattern=r"^(e_sign|traditional|smart|kiosk)$")]
    serial_number: ShortText
    boot: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]


class Sign(msgspec.Struct, frozen=True):
    code: WireCode
    evidence: LineText = ""


Signs = Annotated[list[Sign], Meta(max_length=64)]


class Safety(msgspec.Struct, frozen=True):
    transaction_running: bool
    batch_open: bool
    payments_unsent: bool
    reversals_pending: bool
    can_trade: bool


class AppStatus(msgspec.Struct, frozen=True):
    alive: bool
    since_ms: WireMillis
    version: ShortText


class QueueStatus(msgspec.Struct, frozen=True):
    pending: Count
    oldest_age_s: Span
    sending: bool


class LogsStatus(msgspec.Struct, frozen=True):
    size_bytes: Count = field(name="bytes")
    limit_bytes: Count
    files: Count


class ClockReading(msgspec.Struct, frozen=True):
    wall_ms: WireMillis


class Storage(msgspec.Struct, frozen=True):
    free_pct: Percent
    free_mb: Span


class Memory(msgspec.Struct, frozen=True):
    """``app_rss_mb`` None: this terminal does not tell it."""

    avail_pct: Percent
    app_rss_mb: Span | None = None


class Certificate(msgspec.Struct, frozen=True):
    not_after_ms: WireMillis


class LogTail(msgspec.Struct, frozen=True):
    lines: Annotated[list[LineText], Meta(max_length=200)]


class Operator(msgspec.Struct, frozen=True):
    plmn: Annotated[str, Meta(max_length=8)]
    name: ShortText
    is_usable: bool = True


class NetworkScan(msgspec.Struct, frozen=True):
    operators: Annotated[list[Operator], Meta(max_length=32)]


class PrintResult(msgspec.Struct, frozen=True):
    """``status`` is one of the states of the metric prn.status."""

    printed: bool
    status: ShortText


class SignInResult(msgspec.Struct, frozen=True):
    """``response_code`` is field 39 of the acquirer's answer; empty when none came."""

    approved: bool
    response_code: Annotated[str, Meta(max_length=4)] = ""


class SoftwareStatus(msgspec.Struct, frozen=True):
    """Of one kind of software. ``sha256``: of the file that it came from; of what the factory installed any."""

    version: Annotated[str, Meta(max_length=64)]
    sha256: Annotated[str, Meta(max_length=64)]
    is_trial: bool
    is_up: bool


class StagedBytes(msgspec.Struct, frozen=True):
    have: Count


class SettleResult(msgspec.Struct, frozen=True):
    """``response_code`` is field 39 of the acquirer's answer; empty when none came."""

    settled: bool
    response_code: Annotated[str, Meta(max_length=4)] = ""


class NetStage(msgspec.Struct, frozen=True):
    ok: bool
    ms: Span
    detail: ShortText = ""


class NetProbe(msgspec.Struct, frozen=True):
    """A stage after a failed one was not tried and is None."""

    dns: NetStage
    tcp: NetStage | None = None
    tls: NetStage | None = None


ConfigValues = Annotated[dict[Annotated[str, Meta(max_length=32)], LineText], Meta(max_length=64)]
