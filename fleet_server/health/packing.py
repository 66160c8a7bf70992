"""Columns of numbers as few bytes. `fleet_server.health.unpacking` reads them.

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
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
OddColumn = list[float | int | str | None]
FORMAT: Final = 1
DEFLATED_JSON: Final = 0x78
HEAD = struct.Struct("<BIIH")
DIRECTORY = np.dtype([("kind", "u1"), ("decimals", "u1"), ("length", "<u2"), ("base", "<i8")])
# Kinds: bytes a code; a constant and a count upwards by one take none.
WIDTHS: Final = {0: 0, 1: 1, 2: 2, 4: 4, 8: 8, 9: 0}
CONSTANT, FLOAT, COUNTING = 0, 8, 9
MAX_DECIMALS: Final = 3
# Samples looked at together stay in the processor's cache.
_AT_ONCE: Final = 2**15
# Beyond it a float cannot hold every whole number.
EXACT: Final = 2.0**53


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
    made: list[bytes] = []
    ends = np.cumsum(lengths).tolist()
    first = column = begin = 0
    while first < len(blocks):
        until, end_column, end = first, column, begin
        while until < len(blocks) and end - begin < _AT_ONCE:
            end_column += len(blocks[until][0])
            end = ends[end_column - 1] if end_column else 0
            until += 1
        made += _packed(values[begin:end], lengths[column:end_column], blocks[first:until])
        first, column, begin = until, end_column, end
    return made


def _packed(
    values: Floats, lengths: Ints, blocks: Sequence[tuple[tuple[str, ...], Mapping[str, OddColumn]]]
) -> list[bytes]:
    directory, pieces = _encoded(values, lengths) if len(lengths) else (b"", [])
    made = []
    column = 0
    for names, odd in blocks:
        until = column + len(names)
        written = _joined(names)
        oddities = msgspec.json.encode(odd) if odd else b""
        head = HEAD.pack(FORMAT, len(written), len(oddities), len(names))
        entries = directory[column * DIRECTORY.itemsize : until * DIRECTORY.itemsize]
        made.append(b"".join((head, written, entries, *pieces[column:until], oddities)))
        column = until
    return made


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
    kinds[counts & is_whole & (lengths > 1)] = COUNTING
    kinds[(decimals > MAX_DECIMALS) | (np.abs(base) > EXACT) | (highest > EXACT)] = FLOAT
    directory = np.zeros(len(lengths), DIRECTORY)
    directory["kind"], directory["length"] = kinds, lengths
    in_codes = kinds != FLOAT
    directory["decimals"] = np.where(in_codes, decimals, 0)
    directory["base"] = np.where(in_codes & has_any, base, 0.0).astype(np.int64)
    # Nothing measured at all: a constant that is told from others by its decimals.
    directory["decimals"][in_codes & ~has_any] = MAX_DECIMALS + 1
    codes = np.where(present, steps - np.repeat(base, lengths), -1.0)
    return directory.tobytes(), _data(values, codes, kinds, lengths)


def _steps(values: Floats, present: npt.NDArray[np.bool_], starts: Ints, lengths: Ints) -> tuple[Floats, Ints]:
    """Each number in units of its column's last decimal, and how many decimals that are; more than the most: none."""
    steps = values
    decimals = np.zeros(len(lengths), dtype=np.int64)
    rounded = np.rint(values)
    fits = np.logical_and.reduceat((rounded == values) | ~present, starts)
    steps = rounded
    for more in range(1, MAX_DECIMALS + 1):
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
    decimals[~fits] = MAX_DECIMALS + 1
    return steps, decimals


def _kinds(spread: Floats, is_whole: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The fewest bytes that hold every step and, above them, the code of what was not measured."""
    kinds = np.full(len(spread), FLOAT, dtype=np.uint8)
    for width in (4, 2, 1):
        kinds[spread < 2.0 ** (8 * width) - 1] = width
    kinds[(spread <= 0) & (is_whole | (spread < 0))] = CONSTANT
    return kinds


def _data(values: Floats, codes: Floats, kinds: npt.NDArray[np.uint8], lengths: Ints) -> list[bytes]:
    """The bytes of each column, cut out of one buffer a kind."""
    pieces: list[bytes] = [b""] * len(kinds)
    of_value = np.repeat(kinds, lengths)
    for kind, dtype in ((1, "<u1"), (2, "<u2"), (4, "<u4"), (FLOAT, "<f8")):
        columns = np.flatnonzero(kinds == kind)
        if not len(columns):
            continue
        source = values if kind == FLOAT else codes
        # -1 becomes the highest code of its width.
        chosen = source[of_value == kind]
        cast = chosen if kind == FLOAT else chosen.astype(np.int64)
        buffer = cast.astype(dtype).tobytes()
        ends = np.cumsum(lengths[columns] * kind).tolist()
        begin = 0
        for column, end in zip(columns.tolist(), ends, strict=True):
            pieces[column] = buffer[begin:end]
            begin = end
    return pieces


@lru_cache(maxsize=1024)
def _joined(names: tuple[str, ...]) -> bytes:
    return "\n".join(names).encode()
