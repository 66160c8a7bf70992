"""One parser in a process of its own, with atheris where it is installed.

The corpus lies in ``.fuzz/NAME`` and grows, so that the next call goes on where this one stopped. What ends a parser is
kept under ``tests/fuzz/crashes`` and is a test from then on.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import os
import random
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import structlog

if TYPE_CHECKING:
    from tests.fuzz.parsers import Parser

ROOT = Path(__file__).resolve().parents[2]
CRASHES = Path(__file__).parent / "crashes"
# Counting memory makes a parser several times slower: done for one input of so many.
_WEIGHED = 32
# Longer ones teach nothing new and cost much; the short form has long ones.
LONGEST_BYTES = 4096


def load() -> dict[str, Parser]:
    """All parsers, instrumented where atheris is there."""
    # What is written down of each refusal would be gigabytes.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    if importlib.util.find_spec("atheris") is None:
        from tests.fuzz.catalogue import all_parsers
    else:
        atheris = importlib.import_module("atheris")
        packages = ["protocol", "device_agent", "fleet_server"]
        # Watched, its long expressions take seconds in place of milliseconds.
        with atheris.instrument_imports(include=packages, exclude=["protocol.redaction"]):
            from tests.fuzz.catalogue import all_parsers
    return all_parsers()


def end_with(name: str, seconds: float) -> NoReturn:
    """Ends this process: with 0 when no input ended the parser."""
    status = 1
    try:
        _fuzz(name, seconds)
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except Exception:  # noqa: BLE001 - whatever ended it is what is asked for
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _fuzz(name: str, seconds: float) -> None:
    from tests.fuzz.catalogue import EVERYWHERE, all_parsers

    parser, corpus = all_parsers()[name], ROOT / ".fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in (*parser.seeds, *EVERYWHERE):
        (corpus / hashlib.sha256(seed).hexdigest()[:40]).write_bytes(seed)
    # What is made once, such as a database to ask, is not the first input's doing.
    parser.parse(parser.seeds[0])
    if importlib.util.find_spec("atheris") is None:
        _by_chance(parser, seconds, corpus)
    else:
        _by_coverage(parser, seconds, corpus)


def _by_coverage(parser: Parser, seconds: float, corpus: Path) -> None:
    atheris = importlib.import_module("atheris")
    most_bytes = min(parser.most_bytes, LONGEST_BYTES)
    limits = [f"-max_total_time={seconds:.0f}", f"-max_len={most_bytes}", "-timeout=20", "-rss_limit_mb=2048"]
    quiet = ["-print_final_stats=1", "-verbosity=1", f"-artifact_prefix={corpus.parent}/{parser.name}-"]
    atheris.Setup(["tests.fuzz", *limits, *quiet, str(corpus)], lambda data: _one(parser, bytes(data)))
    atheris.Fuzz()


def _by_chance(parser: Parser, seconds: float, corpus: Path) -> None:
    from tests.fuzz.mutation import mutated

    seeds = [path.read_bytes() for path in sorted(corpus.iterdir())]
    chance, ends_at, tried = random.Random(time.time_ns()), time.monotonic() + seconds, 0
    while time.monotonic() < ends_at:
        _one(parser, mutated(seeds, chance))
        tried += 1
    sys.stderr.write(f"{parser.name}: {tried} inputs by chance; atheris is not installed\n")


def _one(parser: Parser, data: bytes) -> None:
    from tests.fuzz.bounds import run, run_in_memory

    try:
        run(parser, data)
        if hash(data) % _WEIGHED == 0:
            run_in_memory(parser, data)
    except Exception:
        CRASHES.mkdir(exist_ok=True)
        (CRASHES / f"{parser.name}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
        raise
