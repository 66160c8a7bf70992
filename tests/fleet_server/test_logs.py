"""What server processes write when all goes wrong, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_server.bounded_log import BoundedLog
from tests.support.hostile import CORPUS, steering

PAN = "4111111111111111"
SAID = f"said = 'card ' + '{PAN[:8]}' + '{PAN[8:]}'"
CRASHES = {
    "the main thread": "raise ValueError(said)",
    "another thread": "import threading; t = threading.Thread(target=int, args=[said + 'x']); t.start(); t.join()",
    "a logged value": "import structlog; structlog.get_logger().error('no', what={'a': [said]}, why=Exception(said))",
}


@pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES.keys())
def test_a_crash_is_one_line_of_json_without_a_card_number(crash: str) -> None:
    program = f"from fleet_server.logs import configure_logs; configure_logs(); {SAID}; {crash}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert PAN not in done.stderr + done.stdout
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["level"] in {"critical", "error"}
    assert "PAN …1111" in line


def test_no_text_makes_a_line_of_its_own_or_steers_a_terminal() -> None:
    program = (
        "import sys, json, structlog; from fleet_server.logs import configure_logs; configure_logs()\n"
        "for text in json.load(sys.stdin):\n"
        "    structlog.get_logger().error('it said', said=text, deep={text: [text]})\n"
        "    try: raise ValueError(text)\n"
        "    except ValueError: structlog.get_logger().exception('no')\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=json.dumps(CORPUS), capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.split("\n")[:-1]
    assert len(lines) == 2 * len(CORPUS)
    assert not steering(done.stdout)
    assert [json.loads(line)["said"] for line in lines[::2]] == list(CORPUS)


def test_a_log_file_takes_no_card_number_whoever_wrote_it(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "broker.log")
    log.write(f"client said {PAN[:4]}-{PAN[4:8]}-{PAN[8:12]}-{PAN[12:]} \xff\n".encode("latin-1"))
    assert (tmp_path / "broker.log").read_bytes() == b"client said [PAN \xe2\x80\xa61111] \xff\n"
