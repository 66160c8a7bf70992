"""Distinct types for distinct identifiers, and the one shape that names on the wire may have.

A link id is the common name of a client certificate; it is opaque, never reused, and bound at enrolment to a serial
number and a tenant. An attached device has an id of the same shape. Names that begin with ``svc-`` belong to services
and are never enrolled.
"""

from __future__ import annotations

import re
from typing import Annotated, NewType

from msgspec import Meta

LinkId = NewType("LinkId", str)
DeviceId = NewType("DeviceId", str)
ExecutionId = NewType("ExecutionId", str)
StreamId = NewType("StreamId", str)
SessionId = NewType("SessionId", str)
Nonce = NewType("Nonce", str)
KeyId = NewType("KeyId", str)
MetricId = NewType("MetricId", str)
CodeId = NewType("CodeId", str)
ActionName = NewType("ActionName", str)
TenantId = NewType("TenantId", str)

IDENTIFIER_PATTERN = r"^[a-z0-9][a-z0-9-]{7,63}$"
SERVICE_PREFIX = "svc-"

# Wire shapes. Hexadecimal of 128 random bits for streams, sessions and nonces; UUIDv7 for executions.
WireDevice = Annotated[str, Meta(pattern=IDENTIFIER_PATTERN)]
WireHex128 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
WireExecution = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
WireSha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
WireCode = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,79}$")]
WireMetric = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.]{0,63}$")]
WireAction = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31}){0,2}$")]
WireMillis = Annotated[int, Meta(ge=0, le=2**53)]
MAX_SEQ = 2**53
WireSeq = Annotated[int, Meta(ge=1, le=MAX_SEQ)]

_IDENTIFIER = re.compile(IDENTIFIER_PATTERN)


def is_identifier(text: str) -> bool:
    """Whether ``text`` may name a link or device (not a service)."""
    # fullmatch: "$" alone would let a trailing line feed through.
    return _IDENTIFIER.fullmatch(text) is not None and not text.startswith(SERVICE_PREFIX)
