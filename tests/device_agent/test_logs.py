"""The agent's own log, in a process of its own: what it writes when all goes wrong."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from device_agent.logs import ScrubbedFormatter
from tests.support.hostile import CORPUS, steering

PAN = "4111111111111111"
CRASHES = {
    "the main thread": "raise ValueError(said)",
    "another thread": "import threading; t = threading.Thread(target=int, args=[said + 'x']); t.start(); t.join()",
    "a logged mistake": "import logging; logging.getLogger('x').error('it said %s', said)",
}


@pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES.keys())
def test_a_crash_names_its_place_and_no_card_number(crash: str) -> None:
    program = f"from device_agent.logs import *; configure_logs(20); catch_crashes(); said = 'card ' + '{PAN[:8]}' * 1"
    program += f" + '{PAN[8:]}'; {crash}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert PAN not in done.stderr + done.stdout
    assert "PAN …1111" in done.stderr


def test_no_text_makes_a_line_of_its_own_or_steers_a_terminal() -> None:
    program = (
        "import sys, json, logging; from device_agent.logs import configure_logs; configure_logs(20)\n"
        "for text in json.load(sys.stdin):\n"
        "    logging.getLogger('x').error('it said %s', text)\n"
        "    try: raise ValueError(text)\n"
        "    except ValueError: logging.getLogger('x').exception('no')\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=json.dumps(CORPUS), capture_output=True, text=True, timeout=60, check=True)
    assert not steering(done.stderr, but="\n\t")
    # What belongs to a record below its line is indented.
    assert len([line for line in done.stderr.splitlines() if not line.startswith("    ")]) == 2 * len(CORPUS)


def test_traceback_is_scrubbed_with_the_line() -> None:
    try:
        int(f"terminal said ;{PAN}=29122011234567?")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), (type(error), error, None))
    line = ScrubbedFormatter().format(record)
    assert "terminal said [TRACK]" in line
