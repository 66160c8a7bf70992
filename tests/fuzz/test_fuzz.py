"""The short form of `make fuzz`: good inputs, what breaks parsers of any kind, what once ended one, some by chance."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import tomllib
import zlib
from pathlib import Path

import pytest

from tests.fuzz.bounds import MAX_CPU_S, MAX_MEMORY_BYTES, BoundPassed, run, run_in_memory
from tests.fuzz.catalogue import BOMBS, EVERYWHERE, all_parsers
from tests.fuzz.mutation import mutated
from tests.fuzz.parsers import Parser
from tests.fuzz.reading_places import reading_places

UNFUZZED = tomllib.loads((Path(__file__).parent / "unfuzzed.toml").read_text("utf-8"))
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
        assert run(parser, data) <= MAX_CPU_S
        if len(data) <= WEIGHED_BYTES or data in BOMBS:
            assert run_in_memory(parser, data) <= MAX_MEMORY_BYTES
    small = [data for data in (*parser.seeds, *EVERYWHERE) if len(data) < WEIGHED_BYTES]
    for _ in range(BY_CHANCE):
        assert run(parser, mutated(small, chance)) <= MAX_CPU_S


@pytest.mark.parametrize("path", sorted(CRASHES.glob("*-*")), ids=lambda path: path.name)
def test_what_once_ended_a_parser_does_so_no_more(path: Path) -> None:
    parser, data = PARSERS[path.name.rpartition("-")[0]], path.read_bytes()
    assert run(parser, data) <= MAX_CPU_S
    assert run_in_memory(parser, data) <= MAX_MEMORY_BYTES


def test_every_wire_module_of_a_driver_has_a_fuzzer() -> None:
    families = {path.parent.name for path in (ROOT / "device_agent" / "drivers").glob("*/wire.py")}
    covered = {family for family in families if any(name.startswith(family) for name in PARSERS)}
    assert families == covered


def test_every_place_that_reads_is_entered_by_a_fuzzer_or_named_with_a_reason() -> None:
    named = {place for group in UNFUZZED.values() for place in group}
    # In a process of its own: what a parser prepares once has been prepared here by the tests before.
    command = [sys.executable, "-m", "tests.fuzz.reading_places"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    entered = set(json.loads(said.splitlines()[-1]))
    assert sorted(reading_places() - entered) == sorted(named)


def _works_for(cpu_s: float) -> None:
    ends_at_s = time.thread_time() + cpu_s
    while time.thread_time() < ends_at_s:
        pass


def test_a_parser_that_is_too_slow_or_too_large_is_noticed() -> None:
    slow = Parser("slow", lambda data: _works_for(MAX_CPU_S * 1.5), ())
    large = Parser("large", zlib.decompress, ())
    with pytest.raises(BoundPassed, match="slow took"):
        run(slow, b"")
    with pytest.raises(BoundPassed, match="large took"):
        run_in_memory(large, zlib.compress(bytes(40_000_000)))
