"""Columns of numbers come out as they went in, whatever they hold; what is damaged says so."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.health.flush_columns import gather
from fleet_server.health.packing import OddColumn, pack
from fleet_server.health.unpacking import BlockDamaged
from protocol.records import HealthColumns
from tests.support.health_blocks import samples, unpack

NUMBERS = (
    st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(-999, 999, places=2).map(float)
)
SAMPLES = st.lists(st.none() | NUMBERS | st.text(max_size=8), min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.]{0,9}", fullmatch=True)


def packed(*columns: dict[str, OddColumn]) -> list[bytes]:
    bodies = [HealthColumns(0, 1000, 1, one) for one in columns]
    return gather(bodies).pack()


@settings(max_examples=150)
@given(st.lists(st.dictionaries(NAMES, SAMPLES, max_size=3), min_size=1, max_size=3))
def test_blocks_come_out_as_they_went_in_however_many_are_packed_at_once(blocks: list[dict[str, OddColumn]]) -> None:
    assert [samples(one) for one in packed(*blocks)] == blocks


@settings(max_examples=60)
@given(st.lists(st.none() | st.decimals(-50, 50, places=1).map(float), min_size=1, max_size=60))
def test_numbers_with_a_decimal_take_two_bytes_at_most(column: OddColumn) -> None:
    (block,) = packed({"m": column})
    assert samples(block) == {"m": column}
    assert len(block) <= 11 + 1 + 12 + 2 * len(column)


@pytest.mark.parametrize(
    ("column", "size"),
    [([7] * 60, 0), ([None] * 60, 0), (list(range(1000, 1060)), 0), ([0, 254], 2), ([0, 255], 4), ([0, 65535], 8)],
)
def test_a_column_takes_no_more_bytes_than_its_spread_needs(column: OddColumn, size: int) -> None:
    (block,) = packed({"m": column})
    assert samples(block) == {"m": column}
    assert len(block) == 11 + 1 + 12 + size


def test_only_wanted_columns_are_unpacked() -> None:
    (block,) = packed({"a": [1, 2], "b": ["odd", None], "c": [0.5, None]})
    found = unpack(block, {"b", "c"})
    assert (list(found.numbers), found.odd) == (["c"], {"b": ["odd", None]})


def test_blocks_of_the_format_before_are_still_read() -> None:
    columns: dict[str, OddColumn] = {"a": [1, None, 2.5], "b": ["odd", None]}
    assert samples(zlib.compress(msgspec.json.encode(columns), 1)) == columns


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_other_bytes_are_a_damaged_block(junk: bytes) -> None:
    whole = pack({"a": np.array([1.5, 2.5, np.nan])})
    for broken in (junk, whole[:-1], whole + junk[:5] + b"x", whole[:3] + junk):
        if broken != whole:
            with pytest.raises(BlockDamaged):
                unpack(broken)
