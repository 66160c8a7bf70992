from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.version import DIGITS, product


@pytest.fixture
def version(tmp_path: Path) -> str:
    return written(tmp_path, "protocol/streams.py", '"""What it is."""\nLIMIT = 4\n')


def written(root: Path, name: str, text: str) -> str:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return product.__wrapped__(root)


def test_another_value_or_file_is_another_version(version: str, tmp_path: Path) -> None:
    assert len(version) == DIGITS
    other = written(tmp_path, "protocol/streams.py", '"""What it is."""\nLIMIT = 5\n')
    assert other != version
    assert written(tmp_path, "fleet_server/ingest/new.py", "") not in {version, other}


def test_words_about_the_code_and_pages_are_the_same_version(version: str, tmp_path: Path) -> None:
    assert written(tmp_path, "protocol/streams.py", '"""Other words."""\n\n# Why.\nLIMIT = 4\n') == version
    assert written(tmp_path, "fleet_server/console/pages.py", "A = 1\n") == version
    assert written(tmp_path, "tests/test_it.py", "A = 1\n") == version
