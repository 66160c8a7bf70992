from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

DEADLINE_S = 30.0


@pytest.fixture
def run() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes a test started; what it left running is killed."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def start(started: list[subprocess.Popen[str]], *options: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", "serial", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("zvt", "--fault", "stuck_key"), "'stuck_key' is not one of"),
        (("zvt", "--tcp", "nowhere"), "expected HOST:PORT"),
        (("escpos", "--link", "/no/such/folder/line"), "No such file"),
    ],
)
def test_what_cannot_start_says_so_in_one_sentence(
    run: list[subprocess.Popen[str]], options: tuple[str, ...], said: str
) -> None:
    process = start(run, *options)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert said in errors
    assert errors.count("\n") == 1


def test_port_that_is_taken_is_one_sentence_too_and_leaves_no_link(
    run: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = start(run, "zvt", "--link", str(tmp_path / "zvt0"), "--tcp", address)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert not (tmp_path / "zvt0").is_symlink()
    assert "Traceback" not in errors


def test_terminal_answers_on_the_port_it_names_until_it_is_told_to_stop(run: list[subprocess.Popen[str]]) -> None:
    process = start(run, "zvt", "--tcp", "127.0.0.1:0", "--fault", "paper_out")
    host, _, port = first_line(process).strip().rpartition("tcp://")[2].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as register:
        register.sendall(bytes.fromhex("0501050000000302"))
        assert register.recv(7, socket.MSG_WAITALL) == bytes.fromhex("800000060f01cc")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 0


def test_pty_without_a_link_is_named(run: list[subprocess.Popen[str]]) -> None:
    process = start(run, "escpos")
    path = first_line(process).strip().removeprefix("escpos on ")
    assert Path(path).exists()
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 0
