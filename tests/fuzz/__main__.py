"""``python -m tests.fuzz [--seconds N] [NAME ...]``: each parser for so long, one after another.

Ends with 1 when a parser was ended by an input, a time or a size; the input is then under ``tests/fuzz/crashes``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.fuzz.catalogue import all_parsers


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz")
    asked.add_argument("--seconds", type=int, default=60)
    names = list(all_parsers())
    asked.add_argument("name", nargs="*", choices=[*names, []])
    given = asked.parse_args()
    failed = []
    for name in given.name or names:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.child", name, str(given.seconds)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        print(f"{name}: {'ok' if done.returncode == 0 else 'ENDED'} {_counted(done.stderr)}", flush=True)
        if done.returncode != 0:
            failed.append(name)
            print(_what_happened(done.stdout + done.stderr), flush=True)
    print(f"{len(failed)} of {len(given.name or names)} parsers were ended: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _counted(said: str) -> str:
    counted = [line for line in said.splitlines() if "number_of_executed_units" in line or "by chance" in line]
    return counted[-1].split(":")[-1].strip() if counted else ""


def _what_happened(said: str) -> str:
    """The traceback, without what libFuzzer prints around it."""
    start = said.find("Traceback")
    return said[start : start + 3000] if start >= 0 else said[-2000:]


if __name__ == "__main__":
    raise SystemExit(main())
