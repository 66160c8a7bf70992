from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from device_agent.adapters.held_targets import HeldTargets
from protocol.authorisations import Artifact

CONTENT = b"software" * 100
WANTED = Artifact("apps/pay.pkg", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "targets" / "apps").mkdir(parents=True)
    (tmp_path / "targets" / "apps" / "pay.pkg").write_bytes(CONTENT)
    (tmp_path / "secret.pkg").write_bytes(CONTENT)
    return tmp_path / "targets"


def test_file_in_hand_is_told_as_it_is(folder: Path) -> None:
    assert HeldTargets(folder).held(WANTED) == WANTED


def test_other_bytes_of_the_same_length_and_another_length_differ(folder: Path) -> None:
    (folder / "apps" / "pay.pkg").write_bytes(CONTENT[::-1])
    assert HeldTargets(folder).held(WANTED) not in {WANTED, None}
    (folder / "apps" / "pay.pkg").write_bytes(CONTENT + b"x")
    found = HeldTargets(folder).held(WANTED)
    assert found is not None
    assert (found.length, found == WANTED) == (len(CONTENT) + 1, False)


@pytest.mark.parametrize("path", ["apps/none.pkg", "apps", "a/../../secret.pkg", "link.pkg", "linked/secret.pkg"])
def test_what_is_not_a_file_of_the_folder_is_not_in_hand(folder: Path, path: str) -> None:
    (folder / "link.pkg").symlink_to(folder.parent / "secret.pkg")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "a").mkdir()
    assert HeldTargets(folder).held(Artifact(path, WANTED.length, WANTED.sha256)) is None


def test_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert HeldTargets(tmp_path / "none").held(WANTED) is None
