from __future__ import annotations

import pytest

from tools.mutants import ROOT, Mutant, MutantDoesNotApply, read_mutants

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
