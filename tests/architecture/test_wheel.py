"""What an installation gets: the type marks without which another program's checker sees nothing of these packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from tests.architecture.source_tree import ROOT

TYPED = ("protocol", "device_agent", "simulators")


def test_wheel_marks_its_packages_as_typed(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = ZipFile(wheel).namelist()
    assert [name for name in TYPED if f"{name}/py.typed" not in names] == []
