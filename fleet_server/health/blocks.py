"""Columns of health samples, packed for the table and unpacked for a chart."""

from __future__ import annotations

import zlib

import msgspec

from protocol.codec import MAX_INFLATED_BYTES

Columns = dict[str, list[float | int | str | None]]
_decoder = msgspec.json.Decoder(Columns)


class BlockDamaged(Exception):
    """A stored block that this code did not write."""

    code = "block_damaged"


def pack(columns: Columns) -> bytes:
    # Level 1: a block is a few hundred bytes, and ingest pays for it at every record.
    return zlib.compress(msgspec.json.encode(columns), 1)


def unpack(packed: bytes) -> Columns:
    machine = zlib.decompressobj()
    try:
        return _decoder.decode(machine.decompress(packed, MAX_INFLATED_BYTES))
    except (zlib.error, msgspec.DecodeError) as error:
        raise BlockDamaged(f"expected deflated columns of samples, came {len(packed)} other bytes") from error
