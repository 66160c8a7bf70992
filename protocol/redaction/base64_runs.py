"""Finds card data inside base64, one level deep, also compressed. The whole run is what must go.

A run may begin anywhere in the encoded text (a path, a cut buffer), so each of the four alignments is tried. Only runs
that can hold something are decoded: what digits become in base64 has few shapes (`_MASKS`), and compressed data begins
in one of few ways.
"""

from __future__ import annotations

import base64
import re
import zlib
from typing import TYPE_CHECKING

from protocol.redaction.findings import RANK, Finding
from protocol.redaction.sieve import digit_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from protocol.redaction.findings import HitKind
    from protocol.redaction.sieve import Reading

    ScanText = Callable[[str], list[Finding]]
    # The kind and, for a number, the last four digits of what is found first.
    ScanNibbles = Callable[[str], tuple[HitKind, str] | None]

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_RUN = re.compile(r"[A-Za-z0-9+/_\-]{10,}={0,2}")
_MIN_RUN = 12  # with its padding: sixteen packed digits
_MIN_CUT_RUN = 16  # of a shorter one too little would be left after a cut
_ALIGNMENTS = 4
_URL_SAFE = str.maketrans("-_", "+/")
_MAX_INFLATED_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_ZLIB_FIRST = 0x78
_HAS_DIGITS = re.compile(rb"[0-9](?:[ \-._/]?[0-9]){11}")
_BCD = b"0" * 13
_MIN_DUMP_BYTES = 7

_IN_RUN = bytes(0x62 if octet in _ALPHABET + b"-_" else 0x78 for octet in range(256))
# The first two bytes of gzip, and those of zlib that its four levels give.
_COMPRESSED = (re.compile(rb"H4[s-v]"), re.compile(rb"e(?:A[E-H]|F[4-7]|J[w-z]|N[o-r])"))


def _masks() -> bytes:
    """For each character of base64, at which places of a quartet it may stand, as bits 0 to 3 and again as 4 to 7.

    Bytes in question: ASCII digits, what separates them, the zero bytes of UTF-16, and two digits packed in a byte.
    """
    packed = {16 * high + low for high in range(10) for low in range(10)}
    octets = packed | set(b" -._/") | {0}
    firsts = {octet >> 2 for octet in octets}
    seconds = {(one & 3) << 4 | other >> 4 for one in octets for other in octets}
    thirds = {(one & 15) << 2 | other >> 6 for one in octets for other in octets}
    fourths = {octet & 63 for octet in octets}
    masks = bytearray(256)
    for value, char in enumerate(_ALPHABET):
        mask = sum((value in allowed) << place for place, allowed in enumerate((firsts, seconds, thirds, fourths)))
        masks[char] = mask | mask << 4
    return bytes(masks)


_MASKS = _masks()
_BLOCK = 1 << 14  # characters looked at in one go: numbers of this size stay in the processor's cache
_OVERLAP = 8
_PLACES_1_2 = int.from_bytes(b"\x03" * (_BLOCK + _OVERLAP), "little")
_PLACES_3_4 = int.from_bytes(b"\x0c" * (_BLOCK + _OVERLAP), "little")
_NO_MARKS = bytes(_BLOCK)
_COMPRESSED_MARK = 0x10
_PLACES = 0x0F
_SHIFTS_BY_BITS = [tuple(shift for shift in range(_ALIGNMENTS) if bits >> shift & 1) for bits in range(16)]
# By how many characters after the run's begin a mark stands: the alignments that the places of a quartet in it mean.
_SHIFTS_BY_MARK = [
    [
        sum((places >> place & 1) << (after - place) % _ALIGNMENTS for place in range(_ALIGNMENTS))
        for places in range(_PLACES + 1)
    ]
    for after in range(_ALIGNMENTS)
]
_ANY = bytes(octet != 0 for octet in range(256))


def find_in_base64(reading: Reading, scan_text: ScanText, scan_nibbles: ScanNibbles) -> list[Finding]:
    found: list[Finding] = []
    for run, shifts in _runs(reading):
        inner = _first_inside(run[0], shifts, scan_text, scan_nibbles)
        if inner is not None:
            found.append(Finding(run.start(), run.end(), *inner))
    return found


def _runs(reading: Reading) -> Iterator[tuple[re.Match[str], tuple[int, ...]]]:
    """Those that may hold something, each once, with the alignments at which they may."""
    octets = reading.octets
    marks = bytearray(_digit_shapes(octets))
    for pattern in _COMPRESSED:
        for match in pattern.finditer(octets):
            marks[match.start()] |= _COMPRESSED_MARK
    is_marked = marks.translate(_ANY)
    place = is_marked.find(1)
    in_run = octets.translate(_IN_RUN) if place >= 0 else b""
    end = 0
    while place >= 0:
        run = _RUN.match(reading.text, max(in_run.rfind(b"x", end, place), end - 1) + 1)
        if run is not None:
            start, end = run.span()
            if end - start >= _MIN_RUN:
                yield run, _shifts(marks, start, end) if end - start >= _MIN_CUT_RUN else (0,)
        place = is_marked.find(1, max(end, place + 1))


def _digit_shapes(octets: bytes) -> bytes:
    """For each character, as bits 0 to 3: whether from there on at least seven characters fit, one after another, the
    places of a quartet, beginning at that place. The six bytes of thirteen packed digits hold so many whole characters
    at any alignment, and twelve digits of text hold more.

    All characters are looked at together, as the bits of one large number: shifted by eight and one, a character's bit
    for its place meets the next one's bit for the next place.
    """
    blocks: list[bytes] = []
    for start in range(0, len(octets), _BLOCK):
        fits = int.from_bytes(octets[start : start + _BLOCK + _OVERLAP].translate(_MASKS), "little")
        two = fits & (fits >> 9)
        four = two & (two >> 18)
        seven = four & ((four >> 27) & _PLACES_1_2 | (four >> 23) & _PLACES_3_4)
        blocks.append(seven.to_bytes(_BLOCK + _OVERLAP, "little")[:_BLOCK] if seven else _NO_MARKS)
    return b"".join(blocks)[: len(octets)]


def _shifts(marks: bytearray, start: int, end: int) -> tuple[int, ...]:
    """How many characters before a quartet begins, of each alignment that was marked."""
    found = 0
    for after in range(_ALIGNMENTS):
        found |= (marks[start + after] & _COMPRESSED_MARK and 1) << after
        for mark in set(marks[start + after : end : _ALIGNMENTS]):
            found |= _SHIFTS_BY_MARK[after][mark & _PLACES]
    return _SHIFTS_BY_BITS[found]


def _first_inside(
    run: str, shifts: tuple[int, ...], scan_text: ScanText, scan_nibbles: ScanNibbles
) -> tuple[HitKind, str] | None:
    body = run.rstrip("=").translate(_URL_SAFE)
    for shift in shifts:
        piece = body[shift:]
        usable = len(piece) - (len(piece) % 4 == 1)
        octets = base64.b64decode(piece[:usable] + "=" * (-usable % 4))
        inner = _in_octets(octets, scan_text, scan_nibbles)
        if inner is not None:
            return inner
    return None


def _in_octets(octets: bytes, scan_text: ScanText, scan_nibbles: ScanNibbles) -> tuple[HitKind, str] | None:
    plain = _inflated(octets).replace(b"\x00", b"")
    if _HAS_DIGITS.search(plain) is not None:
        found = scan_text(plain.decode("latin-1"))
        if found:
            first = min(found, key=lambda one: (RANK[one.kind], one.start, one.end))
            return first.kind, first.last_four
    nibbles = octets.hex()
    if len(octets) >= _MIN_DUMP_BYTES and _BCD in digit_classes(nibbles.encode()):
        return scan_nibbles(nibbles.upper())
    return None


def _inflated(octets: bytes) -> bytes:
    is_gzip = octets.startswith(_GZIP)
    if not is_gzip and octets[:1] != bytes([_ZLIB_FIRST]):
        return octets
    inflater = zlib.decompressobj(31 if is_gzip else 15)
    try:
        return inflater.decompress(octets, _MAX_INFLATED_BYTES)
    except zlib.error:
        return octets  # it only looked like compressed data
