"""Puts faults into the code, one at a time, and asks whether the tests notice: `make mutants`.

The mutants are data (`tools/mutants.toml`). Each is patched into a copy of the tree, never into the tree itself, and
the tests named beside it run there until one fails. Prints a table; ends with 1 when a mutant survives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tools" / "mutants.toml"
# Found to be enough for every mutant with room to spare; a survivor costs all of them.
MODEL_EXAMPLES = "100"
SEED = "--hypothesis-seed=7"
# A mutant that makes the tests hang counts as alive: a person has to look why.
TRY_TIMEOUT_S = 1200
_TESTS_FAILED = 1


class MutantDoesNotApply(Exception):
    """The code has changed: the patch must follow it."""

    code = "mutant_does_not_apply"


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    why: str
    file: str
    old: str
    new: str
    killers: tuple[str, ...]

    def applied_to(self, text: str) -> str:
        found = text.count(self.old)
        if found != 1:
            raise MutantDoesNotApply(f"{self.name}: expected its text once in {self.file}, found it {found} times")
        return text.replace(self.old, self.new)


def read_mutants(path: Path = LIST) -> list[Mutant]:
    rows = tomllib.loads(path.read_text("utf-8"))["mutant"]
    return [Mutant(**{**row, "killers": tuple(row["killers"])}) for row in rows]


def copy_tree(target: Path) -> None:
    """What git knows of, as it lies in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def try_tests(tree: Path, tests: str) -> bool:
    """Whether they fail in ``tree``."""
    # Bytecode is told from its source by whole seconds and size, which two mutants may share.
    env = os.environ | {"MODEL_EXAMPLES": MODEL_EXAMPLES, "MODEL_SHRINK": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not postgres", SEED, tests],
        cwd=tree,
        env=env,
        capture_output=True,
        text=True,
        timeout=TRY_TIMEOUT_S,
        check=False,
    )
    if run.returncode not in {0, _TESTS_FAILED}:
        raise MutantDoesNotApply(f"{tests} cannot be run: {(run.stdout + run.stderr)[-400:]}")
    return run.returncode == _TESTS_FAILED


def killer_of(mutant: Mutant, tree: Path, unfit: Collection[str] = ()) -> str | None:
    file = tree / mutant.file
    sound = file.read_text("utf-8")
    file.write_text(mutant.applied_to(sound), "utf-8")
    try:
        fit = (tests for tests in mutant.killers if tests not in unfit)
        return next((tests for tests in fit if try_tests(tree, tests)), None)
    finally:
        file.write_text(sound, "utf-8")


def run(mutants: Sequence[Mutant]) -> int:
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(tree)
        unfit = set()
        for tests in sorted({tests for mutant in mutants for tests in mutant.killers}):
            if try_tests(tree, tests):
                unfit.add(tests)
                print(f"{tests} fails without any mutant: it kills none", flush=True)
        for mutant in mutants:
            began_s = time.monotonic()
            try:
                killer = killer_of(mutant, tree, unfit)
                verdict = "SURVIVED" if killer is None else f"killed by {killer}"
            except subprocess.TimeoutExpired:
                killer, verdict = None, f"SURVIVED: the tests took more than {TRY_TIMEOUT_S} s"
            survivors += killer is None
            print(f"{mutant.name:<58} {verdict:<58} {time.monotonic() - began_s:5.0f} s", flush=True)
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants killed")
    return 1 if survivors else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Puts faults into the code and asks whether the tests notice.")
    parser.add_argument("names", nargs="*", help="only mutants whose name contains one of these")
    names = parser.parse_args().names
    chosen = [one for one in read_mutants() if not names or any(name in one.name for name in names)]
    return run(chosen)


if __name__ == "__main__":
    sys.exit(main())
