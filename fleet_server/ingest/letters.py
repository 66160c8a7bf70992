"""What is kept of a message that could not be understood: its beginning, without card data, or nothing of it.

A long one is looked through in a process of its own: what a stranger sent may be made to cost.
"""

from __future__ import annotations

import zlib
from typing import Final

from fleet_server.kit import scrubbing
from protocol import codec
from protocol.redaction import scrub

# Longer than any record of an agent of ours, so that after an upgrade it is played again whole.
MAX_BYTES: Final = 256 * 1024
# Longer than any record, so that only what no agent of ours sends takes the way to another process.
LARGE_BYTES: Final = 64 * 1024
NOT_SCRUBBED: Final = b"[NOT SCRUBBED IN ITS BOUNDS: DROPPED]"
_DEFLATED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_PIECE = 1024


def harmless(payload: bytes, content_type: str) -> tuple[bytes, int]:
    """What is kept of a payload, without card data: also where not all of it is text. And how much was found.

    What is deflated is looked into. It is kept as it came when all of it was read and nothing was found, else as it
    reads: nobody knows what is in the rest.
    """
    read, is_whole = _readable(payload, content_type)
    if len(read) > LARGE_BYTES:
        clean = scrubbing.shared().scrub(read)
        if clean is None:
            return NOT_SCRUBBED, 0
        text, hits = clean.text, clean.hits
    else:
        scrubbed = scrub(read.decode("utf-8", "surrogateescape"))
        text, hits = scrubbed.text.encode("utf-8", "surrogateescape"), len(scrubbed.hits)
    return (payload if is_whole and not hits else text)[:MAX_BYTES], hits


def _readable(payload: bytes, content_type: str) -> tuple[bytes, bool]:
    """What a payload says, inflated if it can be, and whether that is all that it says."""
    if content_type != codec.JSON_DEFLATE and not payload.startswith(_DEFLATED):
        return payload, True
    machine = zlib.decompressobj(zlib.MAX_WBITS | 32)
    plain = bytearray()
    at, step = 0, _PIECE
    while at < len(payload) and not machine.eof and len(plain) <= codec.MAX_INFLATED_BYTES:
        before = machine.copy()
        try:
            plain += machine.decompress(payload[at : at + step], codec.MAX_INFLATED_BYTES + 1 - len(plain))
        except zlib.error:
            if step == 1:
                break
            # What the piece says before the error is lost with it, but for byte by byte.
            machine, step = before, 1
        else:
            at += step
    is_whole = machine.eof and not machine.unused_data and at >= len(payload)
    return (bytes(plain), is_whole) if plain else (payload, True)
