from __future__ import annotations

from pathlib import Path

import pytest

from fleet_server.auth.errors import PeopleKeyMissing, SecretUnreadable
from fleet_server.auth.secret_box import SecretBox, new_key_line


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "people.key"
    path.write_text(new_key_line(), "ascii")
    return path


def test_what_was_sealed_opens_for_its_owner_and_shows_nothing(key_file: Path) -> None:
    box = SecretBox(key_file)
    first, second = box.seal("JBSWY3DP", "u-1"), box.seal("JBSWY3DP", "u-1")
    assert first != second
    assert "JBSWY3DP" not in first
    assert box.open(first, "u-1") == box.open(second, "u-1") == "JBSWY3DP"


def test_a_secret_that_was_moved_to_somebody_else_does_not_open(key_file: Path) -> None:
    """Whoever can write to the database puts his own secret into another's row."""
    box = SecretBox(key_file)
    with pytest.raises(SecretUnreadable, match="somebody else"):
        box.open(box.seal("JBSWY3DP", "u-1"), "u-2")


@pytest.mark.parametrize("changed", ["", "x", "deadbeef:AAAA", "{}:", "{}:!!", "{}:AAAA"])
def test_a_changed_secret_does_not_open(key_file: Path, changed: str) -> None:
    box = SecretBox(key_file)
    name = box.seal("JBSWY3DP", "u-1").partition(":")[0]
    with pytest.raises(SecretUnreadable):
        box.open(changed.format(name), "u-1")


def test_after_a_change_of_keys_the_first_seals_and_all_open(key_file: Path) -> None:
    box = SecretBox(key_file)
    old = box.seal("JBSWY3DP", "u-1")
    key_file.write_text(new_key_line() + key_file.read_text("ascii"), "ascii")
    new = box.seal("JBSWY3DP", "u-1")
    assert new.partition(":")[0] != old.partition(":")[0]
    assert box.open(old, "u-1") == box.open(new, "u-1")
    key_file.write_text(key_file.read_text("ascii").splitlines()[0], "ascii")
    with pytest.raises(SecretUnreadable, match=r"not in people\.key"):
        box.open(old, "u-1")


@pytest.mark.parametrize("content", [None, "", "abc", "00" * 31, "é"])
def test_without_a_key_nothing_is_sealed_and_the_command_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "people.key"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(PeopleKeyMissing, match=r"people\.key"):
        SecretBox(path).seal("JBSWY3DP", "u-1")
