from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from fleet_server.console.simulator_door import SimulatorsRefused, list_devices
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.examples import device_id

LISTING = {
    "ok": True,
    "devices": [
        {
            "key": "till",
            "id": device_id("till_one"),
            "faults": [
                {"name": "paper_out", "zh": "缺纸", "en": "Paper out", "present": True},
                {"name": "clock_drift", "zh": "时钟漂移", "en": "Clock drift", "present": False},
            ],
        }
    ],
}


class Simulators(socketserver.ThreadingUnixStreamServer):
    """The other end of the socket: writes down what it is asked, answers what it is told to."""

    daemon_threads = True
    asked: list[dict[str, Any]]
    answers: list[bytes]


class Line(socketserver.StreamRequestHandler):
    server: Simulators

    def handle(self) -> None:
        self.server.asked.append(json.loads(self.rfile.readline()))
        self.wfile.write(self.server.answers.pop(0) if self.server.answers else json.dumps(LISTING).encode() + b"\n")


@pytest.fixture
def simulators(console_app: FastAPI) -> Iterator[Simulators]:
    server = Simulators(str(console_app.state.settings.simulators_socket), Line)
    server.asked, server.answers = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()


def form(client: TestClient, **values: str) -> dict[str, str]:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/account").text)
    assert found is not None
    return {"csrf": found[1], **values}


def test_the_panel_offers_what_can_be_broken_and_mended(browser: Browser, simulators: Simulators) -> None:
    html = browser("support", language="en").get("/demo").text
    assert "Mend: Paper out" in html
    assert '<option value="clock_drift">Clock drift (clock_drift)</option>' in html


def test_a_fault_that_is_chosen_is_sent_and_written_down(browser: Browser, simulators: Simulators) -> None:
    client = browser("support", language="en")
    answer = client.post("/demo/break", data=form(client, device="till", fault="clock_drift"))
    assert answer.status_code == 303
    assert simulators.asked[-1] == {"cmd": "break", "device": "till", "fault": "clock_drift"}
    client.post("/demo/mend", data=form(client, device="till"))
    assert simulators.asked[-1] == {"cmd": "mend", "device": "till"}
    assert "broke a simulated device" in client.get("/audit").text


def test_a_viewer_sees_but_breaks_nothing(browser: Browser, simulators: Simulators) -> None:
    client = browser("viewer", language="en")
    assert "Break it" not in client.get("/demo").text
    assert client.post("/demo/break", data=form(client, device="till", fault="paper_out")).status_code == 403
    assert all(one["cmd"] == "list" for one in simulators.asked)


def test_a_refusal_is_told_in_words(browser: Browser, simulators: Simulators) -> None:
    client = browser("support", language="en")
    simulators.answers.append(b'{"ok": false, "code": "unknown_fault"}\n')
    answer = client.post("/demo/break", data=form(client, device="till", fault="none"))
    assert "This device has no such fault." in client.get(answer.headers["location"]).text


@pytest.mark.parametrize("answer", [b"", b"{", b"[]\n", b'{"ok": 1}\n', b"\xff\n", b'{"ok": true, "devices": 7}\n'])
def test_no_answer_breaks_the_panel(browser: Browser, simulators: Simulators, answer: bytes) -> None:
    simulators.answers.append(answer)
    assert browser("support").get("/demo").status_code == 200


def test_simulators_that_are_not_there_are_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(SimulatorsRefused, match="simulators_not_running"):
        list_devices(tmp_path / "none.sock")
