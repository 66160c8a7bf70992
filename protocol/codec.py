"""Typed messages to payloads and back: JSON, optionally deflated (zlib, RFC 1950), with every size bounded.

Decoding never raises on peer input; it answers the value or ``Malformed``. The inflated size is bounded before
inflating, so a small payload cannot become a large one.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from protocol.errors import Malformed, MessageTooLarge

JSON = "application/json"
JSON_DEFLATE = "application/json+deflate"
MAX_PAYLOAD_BYTES = 64 * 1024
MAX_INFLATED_BYTES = 1024 * 1024
# Below this size deflate does not pay for its content type.
_DEFLATE_FROM_BYTES = 256
_MAX_DETAIL_CHARS = 200

T = TypeVar("T")
# All that msgspec raises for bytes that are not what is expected: also no UTF-8, and deeper than the stack.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Encoded:
    payload: bytes
    content_type: str


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def to_json(message: object) -> bytes:
    """The message as JSON, without a size limit: for what is signed, stored or shown."""
    return _encoder.encode(message)


def encode(message: object, *, deflate: bool = False) -> Encoded:
    """The message as a payload. Raises ``MessageTooLarge`` above 64 KiB as sent or 1 MiB inflated."""
    plain = _encoder.encode(message)
    if len(plain) > MAX_INFLATED_BYTES:
        raise MessageTooLarge(f"message is {len(plain)} bytes, limit {MAX_INFLATED_BYTES} before deflating")
    encoded = Encoded(plain, JSON)
    if deflate and len(plain) >= _DEFLATE_FROM_BYTES:
        small = zlib.compress(plain, 6)
        if len(small) < len(plain):
            encoded = Encoded(small, JSON_DEFLATE)
    if len(encoded.payload) > MAX_PAYLOAD_BYTES:
        raise MessageTooLarge(f"message is {len(encoded.payload)} bytes as sent, limit {MAX_PAYLOAD_BYTES}")
    return encoded


def decode(payload: bytes, content_type: str | None, kind: type[T]) -> T | Malformed:
    """``payload`` as ``kind``; a missing content type means plain JSON."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        return Malformed("too_large", f"payload is {len(payload)} bytes, limit {MAX_PAYLOAD_BYTES}")
    plain = inflate(payload, content_type)
    return plain if isinstance(plain, Malformed) else from_json(plain, kind)


def from_json(plain: bytes | msgspec.Raw, kind: type[T]) -> T | Malformed:
    try:
        value: T = _decoder(kind).decode(plain)  # type: ignore[arg-type]  # types and unions of types are hashable
    except UNREADABLE as error:
        return Malformed("not_decodable", str(error)[:_MAX_DETAIL_CHARS])
    return value


def inflate(payload: bytes, content_type: str | None) -> bytes | Malformed:
    """The plain JSON of a payload, or why there is none."""
    if content_type in {None, JSON}:
        return payload
    if content_type != JSON_DEFLATE:
        return Malformed("content_type", f"expected {JSON} or {JSON_DEFLATE}, came {str(content_type)[:80]!r}")
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(payload, MAX_INFLATED_BYTES + 1)
    except zlib.error as error:
        return Malformed("not_inflatable", str(error)[:_MAX_DETAIL_CHARS])
    if len(plain) > MAX_INFLATED_BYTES:
        return Malformed("too_large", f"inflates to more than {MAX_INFLATED_BYTES} bytes")
    if not machine.eof or machine.unused_data:
        return Malformed("not_inflatable", "deflated payload is cut short or followed by other bytes")
    return plain
