"""What the page on security names is there."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = (_ROOT / "docs" / "security.md").read_text("utf-8")


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[^`]+)`", _PAGE))
    assert len(named) > 30
    assert [path for path in sorted(named) if not (_ROOT / path).exists()] == []


def test_every_attacker_is_held_by_a_test() -> None:
    table = _PAGE.split("## Who attacks", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 15
    assert [row for row in rows if "`tests/" not in row] == []


def test_every_make_target_that_the_page_names_is_there() -> None:
    targets = (_ROOT / "Makefile").read_text("utf-8")
    for name in re.findall(r"`make ([a-z]+)", _PAGE):
        assert f"\n{name}:" in targets, name
