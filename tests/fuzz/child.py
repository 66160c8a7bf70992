"""``python -m tests.fuzz.child NAME SECONDS``: one parser in a process of its own, with atheris where it is installed.

The corpus lies in ``.fuzz/NAME`` and grows, so that the next call goes on where this one stopped. What ends a parser is
kept under ``tests/fuzz/crashes`` and is a test from then on.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CRASHES = Path(__file__).parent / "crashes"
# Counting memory makes a parser several times slower: done for one input of so many.
_WEIGHED = 32
# Longer ones teach nothing new and cost much; the short form has long ones.
LONGEST_BYTES = 4096


def main() -> int:
    name, seconds = sys.argv[1], float(sys.argv[2])
    corpus = ROOT / ".fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("atheris") is None:
        return _by_chance(name, seconds, corpus)
    return _by_coverage(name, seconds, corpus)


def _by_coverage(name: str, seconds: float, corpus: Path) -> int:
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["protocol", "device_agent", "fleet_server"]):
        from tests.fuzz.catalogue import EVERYWHERE, all_parsers
    parser = all_parsers()[name]
    _write(corpus, (*parser.seeds, *EVERYWHERE))
    most_bytes = min(parser.most_bytes, LONGEST_BYTES)
    limits = [f"-max_total_time={seconds:.0f}", f"-max_len={most_bytes}", "-timeout=20", "-rss_limit_mb=2048"]
    quiet = ["-print_final_stats=1", "-verbosity=1", f"-artifact_prefix={corpus.parent}/{name}-"]
    atheris.Setup([sys.argv[0], *limits, *quiet, str(corpus)], lambda data: _one(parser, bytes(data)))
    atheris.Fuzz()
    return 0


def _by_chance(name: str, seconds: float, corpus: Path) -> int:
    from tests.fuzz.catalogue import EVERYWHERE, all_parsers
    from tests.fuzz.mutation import mutated

    parser = all_parsers()[name]
    _write(corpus, (*parser.seeds, *EVERYWHERE))
    seeds = [path.read_bytes() for path in sorted(corpus.iterdir())]
    chance, ends_at, tried = random.Random(time.time_ns()), time.monotonic() + seconds, 0
    while time.monotonic() < ends_at:
        _one(parser, mutated(seeds, chance))
        tried += 1
    sys.stderr.write(f"{name}: {tried} inputs by chance; atheris is not installed\n")
    return 0


def _write(corpus: Path, seeds: tuple[bytes, ...]) -> None:
    for seed in seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:40]).write_bytes(seed)


def _one(parser: Any, data: bytes) -> None:
    from tests.fuzz.bounds import run, run_in_memory

    try:
        run(parser, data)
        if hash(data) % _WEIGHED == 0:
            run_in_memory(parser, data)
    except BaseException:
        CRASHES.mkdir(exist_ok=True)
        (CRASHES / f"{parser.name}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
        raise


if __name__ == "__main__":
    raise SystemExit(main())
