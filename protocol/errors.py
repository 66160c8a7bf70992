"""What can be wrong with a message. Remote input never raises: decoders return ``Malformed`` instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class ProtocolError(Exception):
    """Our own misuse of this package; a peer cannot cause it."""

    code: ClassVar[str] = "protocol_misused"


class MessageTooLarge(ProtocolError):
    code = "message_too_large"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that could not be understood: a stable code and a bounded sentence, never the payload itself."""

    code: str
    detail: str
