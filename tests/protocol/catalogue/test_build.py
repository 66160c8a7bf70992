from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROBE = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import protocol, protocol.catalogue
from protocol.catalogue import codes, faults, metrics
names = lambda: [path.rsplit("/", 1)[-1] for path in opened if path.endswith(".json")]
assert names() == [], names()
codes.get("escpos.eot4.paper_end")
assert names() == ["codes_escpos.json"], names()
assert not {"yaml", "pydantic", "sqlmodel", "fastapi"} & set(sys.modules)
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_the_json_is_what_the_sources_give() -> None:
    result = run("tools/build_catalogue.py", "--check")
    assert result.returncode == 0, result.stderr


def test_nothing_is_loaded_before_it_is_asked_for_and_then_only_its_own_file() -> None:
    result = run("-c", PROBE)
    assert result.returncode == 0, result.stderr
