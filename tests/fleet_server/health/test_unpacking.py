"""Many blocks read together give what each gives alone, and say of which block each number is."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.health.flush_columns import gather
from fleet_server.health.packing import DIRECTORY, HEAD, OddColumn
from fleet_server.health.unpacking import BlockDamaged, unpack_many, within
from protocol.records import HealthColumns
from tests.support.health_blocks import Unpacked, unpack

COLUMN: st.SearchStrategy[OddColumn] = st.one_of(
    st.lists(st.integers(0, 300), min_size=1, max_size=6),
    st.lists(st.none() | st.decimals(-999, 999, places=2).map(float), min_size=1, max_size=6),
    st.lists(st.integers(-(2**60), 2**60) | st.none() | st.text(max_size=3), min_size=1, max_size=4),
    st.lists(st.just(7), min_size=1, max_size=6),
    st.integers(0, 9).map(lambda first: list(range(first, first + 5))),
)
COLUMNS = st.dictionaries(st.sampled_from(["a", "b", "c"]), COLUMN, max_size=3)


def written(columns: dict[str, OddColumn]) -> bytes:
    (block,) = gather([HealthColumns(0, 1000, 1, columns)]).pack()
    return block


def as_json(columns: dict[str, OddColumn]) -> bytes:
    return zlib.compress(msgspec.json.encode(columns))


BLOCK = (
    COLUMNS.map(written)
    | COLUMNS.map(as_json)
    | st.binary(max_size=40)
    | st.tuples(COLUMNS.map(written), st.integers(1, 9)).map(lambda cut: cut[0][: -cut[1]])
)


def alone(packed: bytes, wanted: set[str] | None) -> Unpacked | None:
    try:
        return unpack(packed, wanted)
    except BlockDamaged:
        return None


@settings(max_examples=200)
@given(st.lists(BLOCK, max_size=8), st.none() | st.sets(st.sampled_from(["a", "b"])))
def test_blocks_read_together_give_what_each_gives_alone(blocks: list[bytes], wanted: set[str] | None) -> None:
    found = unpack_many(blocks, wanted)
    each = [alone(one, wanted) for one in blocks]
    assert found.damaged == [place for place, one in enumerate(each) if one is None]
    assert [one[0] for one in found.odd] == sorted(one[0] for one in found.odd)
    spread = {name: np.repeat(one.blocks, one.lengths) for name, one in found.numbers.items()}
    for place, one in enumerate(each):
        numbers = {name: column.values[spread[name] == place] for name, column in found.numbers.items()}
        expected = one.numbers if one else {}
        assert {name for name, values in numbers.items() if len(values)} == set(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(numbers[name], values)
        assert {name: column for of, name, column in found.odd if of == place} == (one.odd if one else {})


def test_a_number_knows_its_block_and_its_place_there() -> None:
    blocks = [written({"a": [1, 2]}), b"damaged", written({"b": [3]}), as_json({"a": [4, 5, 6]})]
    found = unpack_many(blocks)
    column = found.numbers["a"]
    told = zip(column.spread(np.array([10, 11, 12, 13])), column.places, column.values, strict=True)
    assert sorted(told) == [(10, 0, 1), (10, 1, 2), (13, 0, 4), (13, 1, 5), (13, 2, 6)]
    assert (found.damaged, found.numbers["b"].blocks.tolist()) == ([1], [2])


@given(st.lists(st.integers(0, 5), max_size=9))
def test_places_begin_anew_with_each_length(lengths: list[int]) -> None:
    assert within(np.array(lengths, dtype=np.int64)).tolist() == [
        place for length in lengths for place in range(length)
    ]


@pytest.mark.parametrize(("field", "value"), [("kind", 77), ("length", 9), ("length", 0)])
@pytest.mark.parametrize("columns", [{"a": [1, 4], "b": ["odd"]}, {"a": [5, 8, None], "b": ["odd"]}])
def test_a_directory_that_its_data_do_not_bear_out_damages_the_whole_block(
    columns: dict[str, OddColumn], field: str, value: int
) -> None:
    good = written(columns)
    at = HEAD.size + 1
    entry = np.frombuffer(good[at : at + DIRECTORY.itemsize], DIRECTORY).copy()
    entry[field] = value
    found = unpack_many([good[:at] + entry.tobytes() + good[at + DIRECTORY.itemsize :], good])
    assert (found.damaged, found.odd) == ([0], [(1, "b", ["odd"])])
    assert found.numbers["a"].blocks.tolist() == [1]


def test_an_empty_column_of_an_unknown_kind_damages_its_block() -> None:
    good = written({"a": [7, 7]})
    at = HEAD.size + 1
    entry = np.frombuffer(good[at:], DIRECTORY).copy()
    entry["kind"], entry["length"] = 77, 0
    with pytest.raises(BlockDamaged):
        unpack(good[:at] + entry.tobytes())
