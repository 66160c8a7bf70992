"""A list of devices as one hash, so that an authorisation can name a group of any size: RFC 6962, section 2.1.

A leaf is the SHA-256 of 0x00 and the entry, a node that of 0x01 and its two children; a proof is RFC 6962's audit path.

Invariant: ``proves`` holds only for an entry of the list whose ``root`` is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

# A list of four thousand million devices has a path of 32 hashes.
MAX_PATH = 32


def root(entries: Sequence[bytes]) -> bytes:
    """The hash of the whole list, in its order."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return _leaf(entries[0])
    half = _split(len(entries))
    return _node(root(entries[:half]), root(entries[half:]))


def path(entries: Sequence[bytes], index: int) -> list[bytes]:
    """What proves that ``entries[index]`` is in the list: the hashes beside its way up, from below."""
    if len(entries) <= 1:
        return []
    half = _split(len(entries))
    if index < half:
        return [*path(entries[:half], index), root(entries[half:])]
    return [*path(entries[half:], index - half), root(entries[:half])]


def proves(entry: bytes, index: int, size: int, way: Sequence[bytes], wanted: bytes) -> bool:
    """Whether ``way`` leads from ``entry`` at ``index`` of ``size`` to ``wanted`` (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, _leaf(entry)
    for beside in way:
        if last == 0:
            return False
        if place % 2 or place == last:
            found = _node(beside, found)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            found = _node(found, beside)
        place, last = place >> 1, last >> 1
    return last == 0 and found == wanted


def _split(size: int) -> int:
    """The largest power of two that is smaller than ``size``."""
    return 1 << (size - 1).bit_length() - 1


def _leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
