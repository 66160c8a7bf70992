"""``python -m tests.fuzz [--seconds N] [NAME ...]``: each parser for so long, one after another.

Ends with 1 when a parser was ended by an input, a time or a size; the input is then under ``tests/fuzz/crashes``. Each
has a process of its own, forked from one in which the program is loaded already: to instrument it takes a minute.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tests.fuzz import child


def main() -> int:
    parsers = child.load()
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz")
    asked.add_argument("--seconds", type=int, default=60)
    asked.add_argument("name", nargs="*", choices=[*parsers, []])
    given = asked.parse_args()
    failed = []
    for name in given.name or parsers:
        with tempfile.TemporaryDirectory(prefix="tm-fuzz-said-") as folder:
            is_well, said = _in_a_child(name, given.seconds, Path(folder) / "said")
        print(f"{name}: {'ok' if is_well else 'ENDED'} {_counted(said)}", flush=True)
        if not is_well:
            failed.append(name)
            print(_what_happened(said), flush=True)
    print(f"{len(failed)} of {len(given.name or parsers)} parsers were ended: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _in_a_child(name: str, seconds: float, said: Path) -> tuple[bool, str]:
    process = os.fork()
    if process == 0:
        with said.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        child.end_with(name, seconds)
    _, status = os.waitpid(process, 0)
    return status == 0, said.read_text("utf-8", errors="replace")


def _counted(said: str) -> str:
    counted = [line for line in said.splitlines() if "number_of_executed_units" in line or "by chance" in line]
    return counted[-1].split(":")[-1].strip() if counted else ""


def _what_happened(said: str) -> str:
    """The traceback, without what libFuzzer prints around it."""
    start = said.find("Traceback")
    return said[start : start + 3000] if start >= 0 else said[-2000:]


if __name__ == "__main__":
    raise SystemExit(main())
