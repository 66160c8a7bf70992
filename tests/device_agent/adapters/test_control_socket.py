from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_agent.adapters.control_socket import AgentNotRunning, Answer, ControlSocket, Reply, ask


def echo(request: Answer, reply: Reply) -> None:
    reply({"part": 1})
    reply({"done": True, "asked": request})


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    served = ControlSocket(tmp_path / "control.sock", echo)
    served.start()
    yield tmp_path / "control.sock"
    served.stop()


def test_answers_come_one_a_line_the_last_with_done(control: Path) -> None:
    assert list(ask(control, {"ask": "x"})) == [{"part": 1}, {"done": True, "asked": {"ask": "x"}}]


def test_socket_is_for_its_owner_only(control: Path) -> None:
    assert stat.S_IMODE(control.stat().st_mode) == 0o600


@pytest.mark.parametrize("request_bytes", [b"[]\n", b"not json\n", b"{" * 20_000 + b"\n", b"\xff\n"])
def test_request_that_cannot_be_read_is_answered_with_a_code(control: Path, request_bytes: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(control))
        client.sendall(request_bytes)
        assert b"request_malformed" in client.recv(4096)


def test_stopped_agent_is_told_apart_from_a_silent_one(tmp_path: Path) -> None:
    with pytest.raises(AgentNotRunning):
        list(ask(tmp_path / "nobody.sock", {}))


def test_a_path_that_cannot_be_bound_leaves_no_socket_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="No such file") as refused:
        ControlSocket(tmp_path / "missing" / "control.sock", echo).start()
    assert len(list(Path("/proc/self/fd").iterdir())) == before, refused.value


def test_stop_removes_the_socket_and_a_start_replaces_a_left_over_one(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    for _ in range(2):
        served = ControlSocket(path, echo)
        served.start()
        assert list(ask(path, {}))[-1]["done"]
    served.stop()
    assert not path.exists()
