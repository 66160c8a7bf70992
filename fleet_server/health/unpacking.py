"""Reading packed columns (`fleet_server.health.packing`): many blocks at once, and of each the wanted columns only.

Blocks that name the same columns are taken together, and a column of all of them in one piece: a day of reports is
thousands of short columns, and a call of numpy for each would cost more than all their numbers.
"""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from fleet_server.health.packing import (
    CONSTANT,
    COUNTING,
    DEFLATED_JSON,
    DIRECTORY,
    FLOAT,
    FORMAT,
    HEAD,
    MAX_DECIMALS,
    WIDTHS,
    Floats,
    Ints,
    OddColumn,
    measured,
)
from protocol.codec import MAX_INFLATED_BYTES, UNREADABLE

Entries = npt.NDArray[np.void]
# How a column is read: by its kind, but that one with nothing measured is told by its decimals.
_NOTHING: Final = 255
_DTYPES: Final = {1: "<u1", 2: "<u2", 4: "<u4", FLOAT: "<f8"}
_NO_WIDTH: Final = -1
_WIDTH_OF = np.array([WIDTHS.get(kind, _NO_WIDTH) for kind in range(256)], dtype=np.int64)
_decoder = msgspec.json.Decoder(dict[str, OddColumn])


class BlockDamaged(Exception):
    """A stored block that this code did not write."""

    code = "block_damaged"


@dataclass(frozen=True, slots=True)
class Column:
    """One name's numbers in many blocks: ``lengths[n]`` of ``values`` are of the block in place ``blocks[n]``.

    Blocks come in no certain order.
    """

    blocks: Ints
    lengths: Ints
    values: Floats

    @property
    def places(self) -> Ints:
        """Of each number in its block, from 0."""
        return within(self.lengths)

    def spread(self, of_block: Ints) -> Ints:
        """What holds for a block, for each of its numbers."""
        return np.repeat(of_block[self.blocks], self.lengths)


@dataclass(frozen=True, slots=True)
class ManyUnpacked:
    """By name. ``odd`` in the order of blocks; ``damaged`` are the places of blocks that gave nothing."""

    numbers: dict[str, Column]
    odd: list[tuple[int, str, OddColumn]]
    damaged: list[int]


@dataclass(frozen=True, slots=True)
class _Member:
    """One block among those with the same names."""

    place: int
    packed: bytes
    directory_at: int
    data_at: int
    odd_length: int


def unpack_many(blocks: Sequence[bytes], wanted: Collection[str] | None = None) -> ManyUnpacked:
    """Blocks that are damaged are left out, and named."""
    alike: dict[bytes, list[_Member]] = defaultdict(list)
    pieces: dict[str, list[Column]] = defaultdict(list)
    odd: list[tuple[int, str, OddColumn]] = []
    damaged: set[int] = set()
    for place, packed in enumerate(blocks):
        try:
            if packed[:1] == bytes([DEFLATED_JSON]):
                numbers, oddities = _from_json(packed)
                for name in _chosen(numbers, wanted):
                    pieces[name].append(Column(np.array([place]), np.array([len(numbers[name])]), numbers[name]))
            else:
                names, member = _opened(place, packed)
                oddities = _decoder.decode(packed[-member.odd_length :]) if member.odd_length else {}
                alike[names].append(member)
        except (struct.error, zlib.error, ValueError, *UNREADABLE):
            damaged.add(place)
        else:
            odd += [(place, name, oddities[name]) for name in _chosen(oddities, wanted)]
    for names, members in alike.items():
        found, bad = _of_alike(names, members, wanted)
        damaged |= bad
        for name, column in found.items():
            pieces[name].append(column)
    return ManyUnpacked(
        {name: _in_one(found) for name, found in pieces.items()},
        [one for one in odd if one[0] not in damaged],
        sorted(damaged),
    )


def within(lengths: Ints) -> Ints:
    """0, 1, 2 and so on, anew for each length."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0, dtype=np.int64) - np.repeat(ends - lengths, lengths)


def _chosen(columns: Mapping[str, object], wanted: Collection[str] | None) -> list[str]:
    return [name for name in columns if wanted is None or name in wanted]


def _in_one(found: Sequence[Column]) -> Column:
    if len(found) == 1:
        return found[0]
    parts = [(one.blocks, one.lengths, one.values) for one in found]
    blocks, lengths, values = zip(*parts, strict=True)
    return Column(np.concatenate(blocks), np.concatenate(lengths), np.concatenate(values))


def _from_json(packed: bytes) -> tuple[dict[str, Floats], dict[str, OddColumn]]:
    columns = _decoder.decode(zlib.decompressobj().decompress(packed, MAX_INFLATED_BYTES))
    numbers = {name: values for name, column in columns.items() if (values := measured(column)) is not None}
    return numbers, {name: column for name, column in columns.items() if name not in numbers}


def _opened(place: int, packed: bytes) -> tuple[bytes, _Member]:
    """With the names as they are written."""
    version, names_length, odd_length, count = HEAD.unpack_from(packed)
    directory_at = HEAD.size + names_length
    data_at = directory_at + count * DIRECTORY.itemsize
    names = packed[HEAD.size : directory_at]
    if version != FORMAT or data_at + odd_length > len(packed) or count != (names.count(b"\n") + 1 if names else 0):
        raise ValueError(version)
    return names, _Member(place, packed, directory_at, data_at, odd_length)


def _of_alike(
    written: bytes, members: Sequence[_Member], wanted: Collection[str] | None
) -> tuple[dict[str, Column], set[int]]:
    """By name, and the places of those whose data are not what their directory says."""
    try:
        names = written.decode().split("\n") if written else []
    except UnicodeDecodeError:
        return {}, {one.place for one in members}
    joined = b"".join([one.packed[one.directory_at : one.data_at] for one in members])
    directory = np.frombuffer(joined, DIRECTORY).reshape(len(members), len(names))
    widths = _WIDTH_OF[directory["kind"]]
    data_at = np.array([one.data_at for one in members])
    ends = data_at[:, None] + np.cumsum(widths * directory["length"], axis=1)
    odd_at = np.array([len(one.packed) - one.odd_length for one in members])
    is_whole = (widths >= 0).all(axis=1) & ((ends[:, -1] if names else data_at) == odd_at)
    places = np.array([one.place for one in members])
    if not is_whole.all():
        directory, ends = directory[is_whole], ends[is_whole]
    whole = [one.packed for one, is_good in zip(members, is_whole.tolist(), strict=True) if is_good]
    found = {
        name: Column(places[is_whole], directory["length"][:, number].astype(np.int64), values)
        for number, name in enumerate(names)
        if wanted is None or name in wanted
        for values in (_numbers(whole, directory[:, number], ends[:, number]),)
    }
    return found, set(places[~is_whole].tolist())


def _numbers(blocks: Sequence[bytes], entries: Entries, ends: Ints) -> Floats:
    """A column of blocks, one after the other."""
    kinds = np.where((entries["kind"] != FLOAT) & (entries["decimals"] > MAX_DECIMALS), _NOTHING, entries["kind"])
    lengths = entries["length"].astype(np.int64)
    first = int(kinds[0]) if len(kinds) else CONSTANT
    if (kinds == first).all():
        return _of_kind(first, blocks, entries, ends)
    values = np.empty(int(lengths.sum()))
    kind_of_each = np.repeat(kinds, lengths)
    for kind in np.unique(kinds).tolist():
        is_of = kinds == kind
        chosen = [blocks[place] for place in np.flatnonzero(is_of).tolist()]
        values[kind_of_each == kind] = _of_kind(kind, chosen, entries[is_of], ends[is_of])
    return values


def _of_kind(kind: int, blocks: Sequence[bytes], entries: Entries, ends: Ints) -> Floats:
    lengths = entries["length"].astype(np.int64)
    if kind == _NOTHING:
        return np.full(int(lengths.sum()), np.nan)
    if kind in _DTYPES:
        starts = (ends - lengths * WIDTHS[kind]).tolist()
        data = b"".join([one[start:end] for one, start, end in zip(blocks, starts, ends.tolist(), strict=True)])
        codes = np.frombuffer(data, _DTYPES[kind])
        if kind == FLOAT:
            return codes.astype(np.float64)
    if not len(lengths):
        return np.empty(0)
    base = np.repeat(entries["base"].astype(np.float64), lengths)
    if kind == CONSTANT:
        steps = base
    elif kind == COUNTING:
        steps = base + within(lengths)
    else:
        steps = base + codes
        steps[codes == 2 ** (8 * kind) - 1] = np.nan
    scales = 10.0 ** entries["decimals"].astype(np.float64)
    return steps / (scales[0] if (scales == scales[:1]).all() else np.repeat(scales, lengths))
