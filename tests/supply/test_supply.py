"""What the product is made of: locked with hashes, of allowed licences, and the same bytes wherever it is built."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import supply

ROOT = Path(__file__).resolve().parents[2]


def test_every_locked_package_has_a_hash_and_no_host() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text("utf-8")
        packages = re.split(r"\n(?=[a-z0-9])", text.strip())
        assert packages, path
        assert all("--hash=sha256:" in one for one in packages), path
        assert "://" not in text, path


def test_every_package_of_an_installation_has_an_allowed_licence() -> None:
    assert supply.licences() == supply.WELL


@pytest.mark.parametrize(
    ("expression", "is_allowed"),
    [
        ("MIT", True),
        ("EPL-2.0 OR BSD-3-Clause", True),
        ("BSD-3-Clause AND 0BSD AND Zlib", True),
        ("MIT AND GPL-3.0-only", False),
        ("AGPL-3.0-only", False),
        ("", False),
    ],
)
def test_a_licence_is_judged_as_a_whole(expression: str, *, is_allowed: bool) -> None:
    assert supply.is_allowed(expression) is is_allowed


def test_what_could_not_be_looked_up_is_no_good_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    well = {"name": "a", "version": "1", "vulns": []}
    skipped = {"name": "b", "skip_reason": "could not be audited"}
    weak = {"name": "c", "version": "1", "vulns": [{"id": "CVE-1"}]}
    assert supply.judged([well]) == supply.WELL
    assert supply.judged([well, skipped]) == supply.NO_VERDICT
    assert "no verdict on 1 of 2" in capsys.readouterr().out
    assert supply.judged([well, skipped, weak]) == supply.FOUND
    assert supply.judged([]) == supply.NO_VERDICT


def test_the_console_takes_from_npm_only_what_is_locked_by_its_digest() -> None:
    packages = supply.from_npm()
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())


def built(folder: Path, now: str) -> str:
    """The digest of a wheel that is built from a copy of the sources, at another place and time."""
    copy = folder / "tillmedic"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".*", "node_modules", "__pycache__", "dist", "tests", "docs")
    )
    for path in copy.rglob("*"):
        os.utime(path, (int(now), int(now)))
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--no-build-isolation", "--offline"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1764374400"}
    subprocess.run([*command, "--out-dir", str(folder), str(copy)], check=True, env=environment)
    (wheel,) = folder.glob("*.whl")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_two_builds_of_the_wheel_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "elsewhere" / "deeper"
    for folder in (first, second):
        folder.mkdir(parents=True)
    assert built(first, "1000000000") == built(second, "1700000000")
