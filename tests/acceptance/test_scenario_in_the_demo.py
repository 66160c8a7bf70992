from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulators.__main__ import main
from tests.acceptance.demo_client import Demo

pytestmark = pytest.mark.acceptance

SCENARIO = """
title = { zh = "换纸", en = "A roll is changed" }
seed = 1
lasts_s = 24
[[devices]]
key = "prn1"
family = "escpos"
[[events]]
at_s = 2
device = "prn1"
break = "paper_near"
shows = ["escpos.eot4.near_end"]
[[events]]
at_s = 12
device = "prn1"
mend = "paper_near"
"""


def test_a_scenario_played_into_the_demo_is_seen_by_its_server(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "roll.toml"
    path.write_text(SCENARIO, "utf-8")
    assert main(["run", str(path), "--data", str(demo.data), "--speed", "2", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    of_paper = [line for line in told if line.get("code") == "escpos.eot4.near_end"]
    assert [(line["device"], line["type"]) for line in of_paper] == [
        ("prn1", "fault_raised"),
        ("prn1", "fault_cleared"),
    ]


def test_a_device_that_the_demo_does_not_have_is_one_sentence(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.toml"
    path.write_text(SCENARIO.replace("prn1", "prn9"), "utf-8")
    assert main(["run", str(path), "--data", str(demo.data)]) == 2
    assert "expected keys of the demo (" in capsys.readouterr().err
