"""What must never be in the repository: places of one machine, registry hosts, unfinished work."""

from __future__ import annotations

import re
from pathlib import Path

from tests.architecture.source_tree import ROOT, name_of, tracked

TEXT = (
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".sh",
    ".js",
    ".json",
    ".css",
    ".html",
    ".po",
    ".yaml",
    ".cfg",
    "Makefile",
    ".npmrc",
)
HOSTS = re.compile(r"(files\.pythonhosted|pypi\.org|registry\.npmjs|deb\.debian|/simple/)", re.IGNORECASE)
MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
THIS_FILE = "tests/architecture/test_repository_hygiene.py"


def lines_with(pattern: re.Pattern[str], suffixes: tuple[str, ...] = TEXT) -> list[str]:
    found = []
    for path in tracked(*suffixes):
        if name_of(path) == THIS_FILE:
            continue
        text = path.read_text("utf-8")
        found += [f"{name_of(path)}:{n}" for n, line in enumerate(text.splitlines(), 1) if pattern.search(line)]
    return found


def test_no_registry_host_is_named() -> None:
    assert lines_with(HOSTS) == []


def test_no_path_of_one_machine_is_named() -> None:
    here = re.compile("|".join(re.escape(str(place)) + "/" for place in (ROOT, Path.home()) if str(place) != "/"))
    assert lines_with(here) == []


def test_nothing_is_left_for_later() -> None:
    assert lines_with(MARKS, (".py", ".js", ".css", ".html")) == []


def test_lock_files_with_hosts_are_not_tracked() -> None:
    assert [name_of(path) for path in tracked("uv.lock", "pylock.toml")] == []


def test_every_exception_from_a_gate_names_its_code_and_reason() -> None:
    bare = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)|#\s*(type:\s*ignore\[[^\]]+\]|noqa:\s*[A-Z0-9, ]+)\s*$")
    assert lines_with(bare, (".py",)) == []
