from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulators.__main__ import main

SHORT = """
title = { zh = "短", en = "short" }
seed = 1
lasts_s = 30
poll_s = 1
[[devices]]
key = "prn1"
family = "escpos"
[[events]]
at_s = 5
device = "prn1"
break = "paper_out"
shows = ["SHOWN"]
"""


@pytest.fixture
def short(tmp_path: Path) -> Path:
    path = tmp_path / "short.toml"
    path.write_text(SHORT.replace("SHOWN", "escpos.eot4.paper_end"), "utf-8")
    return path


def test_without_a_name_the_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 0
    said = capsys.readouterr().out
    assert "holiday_peak   节日高峰 / A holiday's peak" in said


def test_people_get_lines_in_both_languages_and_exit_code_0(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(short)]) == 0
    said = capsys.readouterr().out
    assert "broken paper_out (缺纸 / out of paper)" in said
    assert "fault  escpos.eot4.paper_end (缺纸 / paper out)" in said


def test_programs_get_one_object_a_line(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(short), "--json", "--seed", "9"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["seed"] == 9
    assert lines[-1]["type"] == "done"


def test_a_broken_promise_is_exit_code_1(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text(SHORT.replace("SHOWN", "cme.13"), "utf-8")
    assert main(["run", str(path)]) == 1


def test_a_wrong_file_is_exit_code_2_and_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("seed = 'x'", "utf-8")
    assert main(["run", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("simulators: ")
    assert said.count("\n") == 1


def test_where_no_demo_runs_one_sentence_says_so(
    short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(short), "--data", str(tmp_path)]) == 2
    assert "start it with 'make run'" in capsys.readouterr().err


def test_a_paced_run_tells_the_same(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(short), "--speed", "1000"]) == 0
    assert "escpos.eot4.paper_end" in capsys.readouterr().out


def test_a_speed_that_is_none_is_refused(short: Path) -> None:
    with pytest.raises(SystemExit):
        main(["run", str(short), "--speed", "0"])
