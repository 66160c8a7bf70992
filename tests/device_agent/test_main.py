from __future__ import annotations

from pathlib import Path

import pytest

from device_agent.__main__ import main
from tests.device_agent.test_config import written


def test_wrong_configuration_ends_with_2_and_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "quota_mb = 0")
    assert main(["run", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("device-agent: ")
    assert said.count("\n") == 1


def test_question_to_an_agent_that_does_not_run_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "")
    assert main(["status", "--config", str(path)]) == 1
    assert "expected a running agent" in capsys.readouterr().err


def test_doctor_says_what_is_wrong_in_plain_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, '[[lines]]\nname="zvt0"\ndriver="zvt"\nport="nowhere"\n')
    assert main(["doctor", "--config", str(path)]) == 1
    said = capsys.readouterr().out
    assert "BAD  certificate: cannot be read" in said
    assert "is not there: adapter unplugged" in said
    assert "BAD  agent: does not run" in said
