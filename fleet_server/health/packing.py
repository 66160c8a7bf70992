"""Columns of numbers as few bytes: many columns at once when they are written, only the wanted ones when they are read.

    1 byte format, then as much of: 4 bytes n, the length of the names; 4 bytes m, of the oddities; 2 bytes columns;
    n bytes names (UTF-8, joined by line feeds); columns x 12 bytes directory (kind, decimals, length, base); data of
    each column in turn; m bytes oddities (JSON: name to list), columns that are not numbers alone.

A column whose numbers have at most three decimals is kept as whole steps above its lowest, in 0, 1, 2 or 4 bytes each;
others as 8-byte floats. The highest code of a width is "not measured". Integers, little endian throughout.

Invariant: what comes out equals what went in, number by number; a number that is not measured is NaN. A block that
begins with 0x78 is deflated JSON, as this server stored them before: they end with the retention of samples.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from protocol.codec import MAX_INFLATED_BYTES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
OddColumn = list[float | int | str | None]
_FORMAT: Final = 1
_DEFLATED_JSON: Final = 0x78
_HEAD = struct.Struct("<BIIH")
_DIRECTORY = np.dtype([("kind", "u1"), ("decimals", "u1"), ("length", "<u2"), ("base", "<i8")])
# Kinds: bytes a code; a constant and a count upwards by one take none.
_WIDTHS: Final = {0: 0, 1: 1, 2: 2, 4: 4, 8: 8, 9: 0}
_CONSTANT, _FLOAT, _COUNTING = 0, 8, 9
_MAX_DECIMALS: Final = 3
# Beyond it a float cannot hold every whole number.
EXACT: Final = 2.0**53
_decoder = msgspec.json.Decoder(dict[str, OddColumn])


class BlockDamaged(Exception):
    """A stored block that this code did not write."""

    code = "block_damaged"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """``odd``: columns with texts, or with whole numbers too large for a float."""

    numbers: dict[str, Floats]
    odd: dict[str, OddColumn]


def pack(columns: Mapping[str, Floats], odd: Mapping[str, OddColumn] | None = None) -> bytes:
    """One block. For many, `pack_many` costs far less each."""
    arrays = list(columns.values())
    values = np.concatenate(arrays) if arrays else np.empty(0)
    lengths = np.array([len(one) for one in arrays], dtype=np.int64)
    return pack_many(values, lengths, [(tuple(columns), odd or {})])[0]


def pack_many(
    values: Floats, lengths: Ints, blocks: Sequence[tuple[tuple[str, ...], Mapping[str, OddColumn]]]
) -> list[bytes]:
    """``values``: all columns of all blocks, one after the other; each block names its own, and brings its oddities."""
    directory, pieces = _encoded(values, lengths) if len(lengths) else (b"", [])
    made = []
    column = 0
    for names, odd in blocks:
        until = column + len(names)
        written = _joined(names)
        oddities = msgspec.json.encode(odd) if odd else b""
        head = _HEAD.pack(_FORMAT, len(written), len(oddities), len(names))
        entries = directory[column * _DIRECTORY.itemsize : until * _DIRECTORY.itemsize]
        made.append(b"".join((head, written, entries, *pieces[column:until], oddities)))
        column = until
    return made


def unpack(packed: bytes, wanted: Collection[str] | None = None) -> Unpacked:
    """Only ``wanted`` columns, if given. Raises ``BlockDamaged``."""
    try:
        if packed[:1] == bytes([_DEFLATED_JSON]):
            return _from_json(packed, wanted)
        return _from_columns(packed, wanted)
    except (struct.error, zlib.error, msgspec.DecodeError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise BlockDamaged(f"expected packed columns of samples, came {len(packed)} other bytes") from error


def samples(packed: bytes) -> dict[str, OddColumn]:
    """The columns as they were reported, but that a whole number may come back with a point."""
    found = unpack(packed)
    numbers = {
        name: [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - NaN is not itself
        for name, column in found.numbers.items()
    }
    return {**numbers, **found.odd}


def measured(column: Sequence[float | int | str | None]) -> Floats | None:
    """The column as numbers, or None when it is an oddity."""
    kinds = set(map(type, column))
    if str in kinds:
        return None
    try:
        values = np.array(column, dtype=np.float64)
    except OverflowError:
        return None
    is_exact = int not in kinds or bool(np.all(np.abs(values[~np.isnan(values)]) <= EXACT))
    return values if is_exact else None


def _from_columns(packed: bytes, wanted: Collection[str] | None) -> Unpacked:
    version, names_length, odd_length, count = _HEAD.unpack_from(packed)
    if version != _FORMAT:
        raise ValueError(version)
    names = packed[_HEAD.size : _HEAD.size + names_length].decode().split("\n") if count else []
    place = _HEAD.size + names_length
    directory = np.frombuffer(packed, _DIRECTORY, count, place).tolist()
    place += count * _DIRECTORY.itemsize
    numbers = {}
    for name, (kind, decimals, length, base) in zip(names, directory, strict=True):
        if wanted is None or name in wanted:
            numbers[name] = _decoded(packed, place, kind, decimals, length, base)
        place += _WIDTHS[kind] * length
    if place + odd_length != len(packed):
        raise ValueError(len(packed))
    odd = _decoder.decode(packed[place:]) if odd_length else {}
    return Unpacked(numbers, odd if wanted is None else {name: odd[name] for name in odd if name in wanted})


def _from_json(packed: bytes, wanted: Collection[str] | None) -> Unpacked:
    columns = _decoder.decode(zlib.decompressobj().decompress(packed, MAX_INFLATED_BYTES))
    found = Unpacked({}, {})
    for name, column in columns.items():
        if wanted is None or name in wanted:
            values = measured(column)
            if values is None:
                found.odd[name] = column
            else:
                found.numbers[name] = values
    return found


def _encoded(values: Floats, lengths: Ints) -> tuple[bytes, list[bytes]]:
    """The directory of all columns, and the data of each."""
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    present = ~np.isnan(values)
    steps, decimals = _steps(values, present, starts, lengths)
    lowest = np.minimum.reduceat(np.where(present, steps, np.inf), starts)
    highest = np.maximum.reduceat(np.where(present, steps, -np.inf), starts)
    has_any = np.isfinite(lowest)
    base = np.where(has_any, lowest, 0.0)
    spread = np.where(has_any, highest - base, -1.0)
    is_whole = np.logical_and.reduceat(present, starts)
    kinds = _kinds(spread, is_whole)
    # A count upwards by one: its codes are its places.
    within = np.arange(len(values), dtype=np.float64) - np.repeat(starts, lengths)
    counts = np.logical_and.reduceat(steps - np.repeat(base, lengths) == within, starts)
    kinds[counts & is_whole & (lengths > 1)] = _COUNTING
    kinds[(decimals > _MAX_DECIMALS) | (np.abs(base) > EXACT) | (highest > EXACT)] = _FLOAT
    directory = np.zeros(len(lengths), _DIRECTORY)
    directory["kind"], directory["length"] = kinds, lengths
    in_codes = kinds != _FLOAT
    directory["decimals"] = np.where(in_codes, decimals, 0)
    directory["base"] = np.where(in_codes & has_any, base, 0.0).astype(np.int64)
    # Nothing measured at all: a constant that is told from others by its decimals.
    directory["decimals"][in_codes & ~has_any] = _MAX_DECIMALS + 1
    codes = np.where(present, steps - np.repeat(base, lengths), -1.0)
    return directory.tobytes(), _data(values, codes, kinds, lengths)


def _steps(values: Floats, present: npt.NDArray[np.bool_], starts: Ints, lengths: Ints) -> tuple[Floats, Ints]:
    """Each number in units of its column's last decimal, and how many decimals that are; more than the most: none."""
    steps = values
    decimals = np.zeros(len(lengths), dtype=np.int64)
    rounded = np.rint(values)
    fits = np.logical_and.reduceat((rounded == values) | ~present, starts)
    steps = rounded
    for more in range(1, _MAX_DECIMALS + 1):
        if fits.all():
            break
        left = np.repeat(~fits, lengths)
        of_left = values[left]
        # What overflows does not fit, and says so by being infinite.
        with np.errstate(over="ignore"):
            rounded = np.rint(of_left * 10.0**more)
        sizes = lengths[~fits]
        begins = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        now_fit = np.logical_and.reduceat((rounded / 10.0**more == of_left) | np.isnan(of_left), begins)
        steps[left] = rounded
        decimals[~fits] = more
        fits[~fits] = now_fit
    decimals[~fits] = _MAX_DECIMALS + 1
    return steps, decimals


def _kinds(spread: Floats, is_whole: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The fewest bytes that hold every step and, above them, the code of what was not measured."""
    kinds = np.full(len(spread), _FLOAT, dtype=np.uint8)
    for width in (4, 2, 1):
        kinds[spread < 2.0 ** (8 * width) - 1] = width
    kinds[(spread <= 0) & (is_whole | (spread < 0))] = _CONSTANT
    return kinds


def _data(values: Floats, codes: Floats, kinds: npt.NDArray[np.uint8], lengths: Ints) -> list[bytes]:
    """The bytes of each column, cut out of one buffer a kind."""
    pieces: list[bytes] = [b""] * len(kinds)
    of_value = np.repeat(kinds, lengths)
    for kind, dtype in ((1, "<u1"), (2, "<u2"), (4, "<u4"), (_FLOAT, "<f8")):
        columns = np.flatnonzero(kinds == kind)
        if not len(columns):
            continue
        source = values if kind == _FLOAT else codes
        # -1 becomes the highest code of its width.
        chosen = source[of_value == kind]
        cast = chosen if kind == _FLOAT else chosen.astype(np.int64)
        buffer = cast.astype(dtype).tobytes()
        ends = np.cumsum(lengths[columns] * kind).tolist()
        begin = 0
        for column, end in zip(columns.tolist(), ends, strict=True):
            pieces[column] = buffer[begin:end]
            begin = end
    return pieces


def _decoded(packed: bytes, place: int, kind: int, decimals: int, length: int, base: int) -> Floats:
    if kind == _FLOAT:
        return np.frombuffer(packed, "<f8", length, place).astype(np.float64)
    if decimals > _MAX_DECIMALS:
        return np.full(length, np.nan)
    if kind == _CONSTANT:
        return np.full(length, base / 10**decimals)
    if kind == _COUNTING:
        return np.arange(base, base + length, dtype=np.float64) / 10.0**decimals
    codes = np.frombuffer(packed, f"<u{kind}", length, place)
    steps = codes + np.float64(base)
    steps[codes == 2 ** (8 * kind) - 1] = np.nan
    return steps / 10.0**decimals


@lru_cache(maxsize=1024)
def _joined(names: tuple[str, ...]) -> bytes:
    return "\n".join(names).encode()
