"""ZVT APDUs and the fields inside them (PA00P015 rev. 13, PA00P016 rev. 04 chapter 5).

    class(1) instruction(1) length(1, or FF and 2 bytes low first) data

Data are positional parameters, then bitmaps (BMP: one id byte, length known from the id or written as LLVAR `F1 F2`),
then possibly a TLV container under id 06. Reading never raises: it stops at the first byte that makes no sense and says
so. Card numbers and tracks are skipped by length and never kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from device_agent.drivers.zvt.wire import MAX_APDU_BYTES, ApduTooLong, expected_length

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHORT_LIMIT_BYTES = 254
TLV_CONTAINER = 0x06
# Depth and number of TLV objects we are willing to open; a real status answer has about ten in two levels.
MAX_TLV_DEPTH = 4
MAX_TLV_OBJECTS = 64

# Id -> length in bytes of the bitmaps with a fixed length (PA00P015, chapter on bitmaps).
_FIXED: Mapping[int, int] = {
    0x01: 1, 0x02: 1, 0x03: 1, 0x04: 6, 0x05: 1, 0x0B: 3, 0x0C: 3, 0x0D: 2, 0x0E: 2, 0x17: 2, 0x19: 1, 0x27: 1,
    0x29: 4, 0x2A: 15, 0x37: 3, 0x3A: 2, 0x3B: 8, 0x3D: 3, 0x49: 2, 0x87: 2, 0x88: 3, 0x8A: 1, 0x8C: 1, 0xA0: 1,
    0xAA: 3, 0xBA: 5, 0xD0: 1, 0xD2: 1, 0xD3: 1, 0xE0: 1, 0xE9: 1, 0xEA: 1, 0xEB: 8, 0xF0: 1, 0xF9: 1, 0xFA: 1,
    0xFB: 1, 0xFC: 1, 0xFD: 1,
}  # fmt: skip # a table, one line a row
# Ids with two or three length digits written as F0..F9.
_LLVAR = frozenset({0x22, 0x23, 0x2D, 0x8B, 0xA7, 0xD1, *range(0xE1, 0xE9), *range(0xF1, 0xF9)})
_LLLVAR = frozenset({0x24, 0x2E, 0x3C, 0x60, 0x9A, 0xAF})
# Card number, tracks 1 to 3, check value, chip data: they stay on the terminal's line.
_SECRET = frozenset({0x22, 0x23, 0x24, 0x2D, 0x2E, 0x3A, 0xA7, 0xAF, 0xD1})


@dataclass(frozen=True, slots=True)
class Apdu:
    """Control field as one number, 0x0501 for 05 01, and the data block."""

    control: int
    data: bytes = b""

    def encode(self) -> bytes:
        size = len(self.data)
        if size > MAX_APDU_BYTES - 5:
            raise ApduTooLong(f"data block is {size} bytes, limit {MAX_APDU_BYTES - 5}")
        head = self.control.to_bytes(2, "big")
        if size <= _SHORT_LIMIT_BYTES:
            return head + bytes([size]) + self.data
        return head + b"\xff" + size.to_bytes(2, "little") + self.data


@dataclass(frozen=True, slots=True)
class Fields:
    """Bitmaps by id and TLV objects by tag; `is_whole` is false when the rest could not be read."""

    bitmaps: Mapping[int, bytes] = field(default_factory=dict)
    tlv: Mapping[int, bytes] = field(default_factory=dict)
    is_whole: bool = True


def decode_apdu(raw: bytes) -> Apdu | None:
    """None when the bytes are not exactly one APDU."""
    length = expected_length(raw)
    if length is None or length != len(raw):
        return None
    start = 5 if raw[2] == 0xFF else 3
    return Apdu(control=int.from_bytes(raw[:2], "big"), data=raw[start:])


def read_fields(data: bytes) -> Fields:
    bitmaps: dict[int, bytes] = {}
    tlv: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        bitmap = data[at]
        at += 1
        span = _tlv_length(data, at) if bitmap == TLV_CONTAINER else _bitmap_length(bitmap, data, at)
        if span is None or span[0] + span[1] > len(data):
            return Fields(bitmaps, tlv, is_whole=False)
        start, length = span
        at = start + length
        if bitmap == TLV_CONTAINER:
            tlv.update(read_tlv(data[start:at]))
        elif bitmap not in _SECRET:
            bitmaps[bitmap] = data[start:at]
    return Fields(bitmaps, tlv)


def read_llvar(data: bytes, digits: int) -> tuple[bytes, bytes] | None:
    """The field written with `digits` length digits at the start, and what follows; None when it is none."""
    length = _digits(data[:digits], digits)
    if length is None or digits + length > len(data):
        return None
    return data[digits : digits + length], data[digits + length :]


def write_llvar(value: bytes, digits: int) -> bytes:
    return bytes(0xF0 | int(digit) for digit in str(len(value)).zfill(digits)) + value


def read_tlv(data: bytes) -> dict[int, bytes]:
    """Leaves of a TLV sequence by tag, nested containers opened; the first of a repeated tag counts."""
    found: dict[int, bytes] = {}
    waiting = [(data, 0)]
    while waiting:
        sequence, depth = waiting.pop(0)
        at = 0
        while at < len(sequence) and len(found) < MAX_TLV_OBJECTS:
            tag_bytes = 2 if sequence[at] & 0x1F == 0x1F else 1
            span = _tlv_length(sequence, at + tag_bytes)
            if span is None or sum(span) > len(sequence):
                break
            value = sequence[span[0] : sum(span)]
            if sequence[at] & 0x20 and depth < MAX_TLV_DEPTH:
                waiting.append((value, depth + 1))
            else:
                found.setdefault(int.from_bytes(sequence[at : at + tag_bytes], "big"), value)
            at = sum(span)
    return found


def write_tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        length = bytes([size])
    elif size <= 0xFF:
        length = bytes([0x81, size])
    else:
        length = b"\x82" + size.to_bytes(2, "big")
    return tag.to_bytes(2 if tag > 0xFF else 1, "big") + length + value


def _bitmap_length(bitmap: int, data: bytes, at: int) -> tuple[int, int] | None:
    """Where the value of this bitmap starts and how long it is."""
    if bitmap in _FIXED:
        return at, _FIXED[bitmap]
    digits = 2 if bitmap in _LLVAR else 3 if bitmap in _LLLVAR else 0
    length = _digits(data[at : at + digits], digits) if digits else None
    return None if length is None else (at + digits, length)


def _digits(data: bytes, digits: int) -> int | None:
    if len(data) < digits or any(byte & 0xF0 != 0xF0 or byte & 0x0F > 9 for byte in data):
        return None
    return int("".join(str(byte & 0x0F) for byte in data))


def _tlv_length(data: bytes, at: int) -> tuple[int, int] | None:
    if at >= len(data):
        return None
    first = data[at]
    if first < 0x80:
        return at + 1, first
    size = first & 0x7F
    if size not in {1, 2} or at + 1 + size > len(data):
        return None
    return at + 1 + size, int.from_bytes(data[at + 1 : at + 1 + size], "big")
