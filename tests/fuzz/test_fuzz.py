"""The short form of `make fuzz`: good inputs, what breaks parsers of any kind, what once ended one, some by chance."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest

from tests.fuzz.bounds import BoundPassed, run, run_in_memory
from tests.fuzz.catalogue import BOMBS, EVERYWHERE, all_parsers
from tests.fuzz.mutation import mutated
from tests.fuzz.parsers import Parser

ROOT = Path(__file__).resolve().parents[2]
CRASHES = Path(__file__).parent / "crashes"
BY_CHANCE = 100
# Counting memory takes ten times as long.
WEIGHED_BYTES = 6000
SEED = 20260301
PARSERS = all_parsers()


@pytest.mark.parametrize("name", PARSERS)
def test_no_input_ends_a_parser_or_costs_more_than_its_bound(name: str) -> None:
    parser, chance = PARSERS[name], random.Random(SEED)
    for data in (*parser.seeds, *EVERYWHERE):
        run(parser, data)
        if len(data) <= WEIGHED_BYTES or data in BOMBS:
            run_in_memory(parser, data)
    small = [data for data in (*parser.seeds, *EVERYWHERE) if len(data) < WEIGHED_BYTES]
    for _ in range(BY_CHANCE):
        run(parser, mutated(small, chance))


@pytest.mark.parametrize("path", sorted(CRASHES.glob("*-*")), ids=lambda path: path.name)
def test_what_once_ended_a_parser_does_so_no_more(path: Path) -> None:
    parser, data = PARSERS[path.name.rpartition("-")[0]], path.read_bytes()
    run(parser, data)
    run_in_memory(parser, data)


def test_every_wire_module_of_a_driver_has_a_fuzzer() -> None:
    families = {path.parent.name for path in (ROOT / "device_agent" / "drivers").glob("*/wire.py")}
    covered = {family for family in families if any(name.startswith(family) for name in PARSERS)}
    assert families == covered


def test_a_parser_that_is_too_slow_or_too_large_is_noticed() -> None:
    slow = Parser("slow", lambda data: sum(range(8_000_000)), ())
    large = Parser("large", zlib.decompress, ())
    with pytest.raises(BoundPassed, match="slow took"):
        run(slow, b"")
    with pytest.raises(BoundPassed, match="large took"):
        run_in_memory(large, zlib.compress(bytes(40_000_000)))
