"""What one input may cost: a tenth of a second of one core, and 32 MiB more than before."""

from __future__ import annotations

import gc
import tracemalloc

from tests.fuzz.parsers import Parser

MAX_CPU_S = 0.1
MAX_MEMORY_BYTES = 32 * 1024 * 1024
# The best of so many: a garbage collection, or another process in this core's cache, is not the parser's doing.
_TRIES = 3


class BoundPassed(Exception):
    """Of a parser that takes too long or too much."""


def run(parser: Parser, data: bytes) -> float:
    """Seconds of CPU that it took; raises ``BoundPassed``."""
    data = data[: parser.most_bytes]
    took_s = _cpu_s(parser, data)
    for _ in range(_TRIES - 1):
        if took_s <= MAX_CPU_S:
            break
        gc.collect()
        took_s = min(took_s, _cpu_s(parser, data))
    if took_s > MAX_CPU_S:
        raise BoundPassed(f"{parser.name} took {took_s:.3f} s for {len(data)} bytes, limit {MAX_CPU_S}")
    return took_s


def run_in_memory(parser: Parser, data: bytes) -> int:
    """Bytes that it took at most, of what was parsed before, so that what is made once is not counted. Raises
    ``BoundPassed``.
    """
    data = data[: parser.most_bytes]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        parser.parse(data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if most - before > MAX_MEMORY_BYTES:
        raise BoundPassed(f"{parser.name} took {most - before} bytes for {len(data)} bytes, limit {MAX_MEMORY_BYTES}")
    return most - before


def _cpu_s(parser: Parser, data: bytes) -> float:
    began_s = parser.cpu_s()
    parser.parse(data)
    return parser.cpu_s() - began_s
