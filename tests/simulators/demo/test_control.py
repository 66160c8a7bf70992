from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.demo.control import ControlSocket, DemoNotRunning, RequestRefused, ask

pytestmark = pytest.mark.integration


@pytest.fixture
def door(tmp_path: Path) -> Iterator[ControlSocket]:
    door = ControlSocket(tmp_path / "simulators.sock")
    yield door
    door.close()


def answer_next(door: ControlSocket, answer: dict[str, object]) -> threading.Thread:
    def run() -> None:
        door.requests.get(timeout=20).reply(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_request_is_answered_by_the_owner_of_the_door(door: ControlSocket, tmp_path: Path) -> None:
    owner = answer_next(door, {"ok": True, "said": "done"})
    assert ask(tmp_path / "simulators.sock", {"cmd": "list"}) == {"ok": True, "said": "done"}
    owner.join()


def test_refusal_is_raised_with_its_sentence(door: ControlSocket, tmp_path: Path) -> None:
    owner = answer_next(door, {"ok": False, "code": "device_unknown", "detail": "device 'x' is not one of: gw1"})
    with pytest.raises(RequestRefused, match="device 'x' is not one of: gw1"):
        ask(tmp_path / "simulators.sock", {"cmd": "break", "device": "x"})
    owner.join()


def test_socket_is_for_its_owner_alone(door: ControlSocket, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "simulators.sock").stat().st_mode) == 0o600


@pytest.mark.parametrize("line", [b"not json\n", b"[1]\n", b"[" * 9000 + b"\n"])
def test_what_is_no_object_is_refused_in_words(door: ControlSocket, line: bytes) -> None:
    assert door.ask(line)["code"] == "not_understood"


def test_without_a_demo_the_sentence_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(DemoNotRunning, match="start it with 'make run'"):
        ask(tmp_path / "nothing.sock", {"cmd": "list"})
