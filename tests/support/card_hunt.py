"""Looks for whole card numbers in bytes of any origin, in every form in which they might have been kept.

Knows nothing of the rules that mask them: a number is a leak when its bytes are there, as text, packed, encoded or as
a number of a database.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from tests.protocol.redaction.card_samples import grouped, packed, swapped

_GROUPED_BY = (" ", "-", ".", "\u00a0", "%20")
_ZLIB_HEADS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b")
_MAX_INFLATED_BYTES = 4 * 1024 * 1024
_PIECE = 1024


def traces(number: str) -> set[bytes]:
    texts = {number, *(grouped(number, 4, by) for by in _GROUPED_BY)}
    texts.add("".join(chr(0xFF10 + int(digit)) for digit in number))
    texts.add("".join(f"\\u{ord(digit):04x}" for digit in number))
    nibbles = packed(number)
    texts |= {grouped(nibbles, 2, " "), swapped(nibbles), number.encode().hex(), number.encode().hex(" ")}
    found = {text.encode() for text in texts} | {number.encode("utf-16le"), bytes.fromhex(nibbles)}
    found |= {struct.pack(form, int(number)) for form in ("<q", ">q")} if int(number) < 2**63 else set()
    found |= {struct.pack(form, float(number)) for form in ("<d", ">d")}
    return found | {_in_base64(number, shift) for shift in range(3)}


def _in_base64(number: str, shift: int) -> bytes:
    """What stays the same whatever stands before and after."""
    encoded = base64.b64encode(b"\0" * shift + number.encode())
    return encoded[(0, 2, 3)[shift] : (shift + len(number)) // 3 * 4]


def leaks(numbers: list[str], data: bytes) -> list[str]:
    """The numbers that are in ``data`` or in what is deflated in it."""
    places = [data, *inflated(data)]
    return [number for number in numbers if any(trace in place for place in places for trace in traces(number))]


def leaks_in_files(numbers: list[str], folder: Path) -> dict[str, list[str]]:
    """By file, of all files under ``folder``."""
    found = {str(path): leaks(numbers, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: those for name, those in found.items() if those}


def inflated(data: bytes) -> Iterator[bytes]:
    for head in _ZLIB_HEADS:
        at = data.find(head)
        while at >= 0:
            yield _inflated_from(data, at)
            at = data.find(head, at + 1)


def _inflated_from(data: bytes, at: int) -> bytes:
    """As far as it goes: what is damaged further on, or cut, was readable before."""
    machine, step = zlib.decompressobj(47), _PIECE
    found = bytearray()
    while at < len(data) and not machine.eof and len(found) < _MAX_INFLATED_BYTES:
        before = machine.copy()
        try:
            found += machine.decompress(data[at : at + step], _MAX_INFLATED_BYTES)
        except zlib.error:  # It may only look like it. What a piece says before the error is there byte by byte.
            if step == 1:
                break
            machine, step = before, 1
        else:
            at += step
    return bytes(found)
