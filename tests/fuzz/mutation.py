"""Inputs made from others by chance, for machines without atheris and for the short form."""

from __future__ import annotations

import random
from collections.abc import Sequence

_JSON_TOKENS = (b'"', b"{", b"[", b"\\u0000", b"null", b"1e999", b"-1", b",", b":", b"9" * 20)
_TOKENS = (*_JSON_TOKENS, b"\0", b"\xff\xff", b"\n", b"\x10\x02")


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0 if data:
                data[at % len(data)] = chance.randrange(256)
            case 1 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 2:
                data[at:at] = chance.choice(_TOKENS)
            case 3:
                del data[at : at + chance.randrange(1, 16)]
            case 4:
                data[at:at] = data[at : at + chance.randrange(1, 64)] * chance.choice((1, 2, 50))
            case 5:
                other = chance.choice(seeds)
                data[at:] = other[chance.randrange(len(other) + 1) :]
            case _:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
    return bytes(data)
