"""Finds card data inside base64, one level deep, also compressed. The whole run is what must go.

A run may begin anywhere in the encoded text (a path, a cut buffer), so each of the four alignments is tried.
"""

from __future__ import annotations

import base64
import re
import zlib
from typing import TYPE_CHECKING

from protocol.redaction.findings import RANK, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RUN = re.compile(r"[A-Za-z0-9+/_\-]{10,}={0,2}")
_MIN_RUN = 12  # with its padding: sixteen packed digits
_MIN_CUT_RUN = 16  # of a shorter one too little would be left after a cut
_ALIGNMENTS = 4
_URL_SAFE = str.maketrans("-_", "+/")
_MAX_INFLATED_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_ZLIB_FIRST = 0x78
_HAS_DIGITS = re.compile(rb"[0-9](?:[ \-._/]?[0-9]){11}")
_HAS_BCD = re.compile(r"[0-9]{13}")


def find_in_base64(
    text: str, scan_text: Callable[[str], list[Finding]], scan_hex: Callable[[str], list[Finding]]
) -> list[Finding]:
    found: list[Finding] = []
    for run in _RUN.finditer(text):
        if len(run[0]) < _MIN_RUN:
            continue
        inner = _first_inside(run[0], scan_text, scan_hex)
        if inner is not None:
            found.append(Finding(run.start(), run.end(), inner.kind, inner.last_four))
    return found


def _first_inside(
    run: str, scan_text: Callable[[str], list[Finding]], scan_hex: Callable[[str], list[Finding]]
) -> Finding | None:
    body = run.rstrip("=").translate(_URL_SAFE)
    for shift in range(_ALIGNMENTS if len(run) >= _MIN_CUT_RUN else 1):
        piece = body[shift:]
        usable = len(piece) - (len(piece) % 4 == 1)
        octets = base64.b64decode(piece[:usable] + "=" * (-usable % 4))
        for found in _in_octets(octets, scan_text, scan_hex):
            if found:
                return min(found, key=lambda one: (RANK[one.kind], one.start, one.end))
    return None


def _in_octets(
    octets: bytes, scan_text: Callable[[str], list[Finding]], scan_hex: Callable[[str], list[Finding]]
) -> Iterator[list[Finding]]:
    plain = _inflated(octets).replace(b"\x00", b"")
    if _HAS_DIGITS.search(plain) is not None:
        yield scan_text(plain.decode("latin-1"))
    if _HAS_BCD.search(octets.hex()) is not None:
        yield scan_hex(octets.hex(" "))


def _inflated(octets: bytes) -> bytes:
    is_gzip = octets.startswith(_GZIP)
    if not is_gzip and octets[:1] != bytes([_ZLIB_FIRST]):
        return octets
    inflater = zlib.decompressobj(31 if is_gzip else 15)
    try:
        return inflater.decompress(octets, _MAX_INFLATED_BYTES)
    except zlib.error:
        return octets  # it only looked like compressed data
