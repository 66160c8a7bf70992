from __future__ import annotations

from pathlib import Path

import pytest

from tools.mutants import ROOT, Mutant, MutantDoesNotApply, killer_of, read_mutants

MUTANTS = read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_applies_and_names_tests_that_exist(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text("utf-8")
    compile(mutant.applied_to(source), mutant.file, "exec")
    assert mutant.killers
    assert all((ROOT / tests).exists() for tests in mutant.killers)


def test_there_are_enough_mutants_each_with_a_name_and_a_reason() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12
    assert all(mutant.why for mutant in MUTANTS)


def test_a_patch_that_does_not_fit_is_said() -> None:
    mutant = Mutant("m", "", "a.py", "b", "c", ())
    assert mutant.applied_to("abc") == "acc"
    for text in ("a", "bb"):
        with pytest.raises(MutantDoesNotApply):
            mutant.applied_to(text)


def test_tests_that_fail_by_themselves_kill_no_mutant(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("VALUE = 1\n", "utf-8")
    (tmp_path / "test_broken.py").write_text("def test_it():\n    assert False\n", "utf-8")
    (tmp_path / "test_sound.py").write_text(
        "def test_it():\n    assert open('code.py').read() == 'VALUE = 1\\n'\n", "utf-8"
    )
    mutant = Mutant("m", "", "code.py", "1", "2", ("test_broken.py", "test_sound.py"))
    assert killer_of(mutant, tmp_path, {"test_broken.py"}) == "test_sound.py"
    assert killer_of(mutant, tmp_path, {"test_broken.py", "test_sound.py"}) is None
    assert (tmp_path / "code.py").read_text("utf-8") == "VALUE = 1\n"
