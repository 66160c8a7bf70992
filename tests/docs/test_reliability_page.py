"""The counters that the pages explain are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

from fleet_server.metrics import ServerMetrics

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = (_ROOT / "docs" / "reliability.md").read_text("utf-8")
_OPERATOR = (_ROOT / "docs" / "operator.md").read_text("utf-8")


def test_every_counter_of_ingest_is_explained_and_no_other() -> None:
    sources = "".join(path.read_text("utf-8") for path in sorted((_ROOT / "fleet_server" / "ingest").glob("*.py")))
    counted = {
        name for found in re.findall(r"counters\[([^\]]+)\]", sources) for name in re.findall(r'"([a-z_]+)"', found)
    }
    table = _PAGE.split("| counted | meaning |", 1)[1].split("\n\n", 1)[0]
    told = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`([a-z_]+)`", line.split("|")[1:2][0] if "|" in line else "")
    }
    assert told == counted


def test_every_metric_is_in_the_table() -> None:
    names = {family.name for family in ServerMetrics().registry.collect() if family.name.startswith("tillmedic_")}
    told = set(re.findall(r"^\| `(tillmedic_[a-z_]+)`", _OPERATOR, re.MULTILINE))
    assert {name.removesuffix("_total") for name in told} == {name.removesuffix("_total") for name in names}
