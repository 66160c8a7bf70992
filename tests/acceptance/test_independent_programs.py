"""Programs that were not written here talk to the simulated devices, each a process of its own on a pty."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from escpos.printer import Serial

pytestmark = pytest.mark.acceptance

DEADLINE_S = 30.0
Serve = Callable[..., Path]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts `simulators serial` and gives the path of its line."""
    started: list[subprocess.Popen[str]] = []

    def start(family: str, *faults: str) -> Path:
        link = tmp_path / family
        options = [option for fault in faults for option in ("--fault", fault)]
        command = [sys.executable, "-m", "simulators", "serial", family, "--link", str(link), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert str(link) in process.stdout.readline()
        return link

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
        assert process.stdout is not None
        process.stdout.close()
    assert not any(path.is_symlink() for path in tmp_path.iterdir())


@pytest.fixture
def gammu(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    program = shutil.which("gammu")
    if program is None:
        assert "CI" not in os.environ, "gammu is missing: apt-get install gammu"
        pytest.skip("gammu is not installed (Debian package gammu)")

    def run(line: Path, *options: str) -> subprocess.CompletedProcess[str]:
        settings = tmp_path / "gammurc"
        settings.write_text(f"[gammu]\ndevice={line}\nconnection=at115200\n", encoding="utf-8")
        return subprocess.run(
            [program, "-c", str(settings), *options], capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    return run


def open_printer(line: Path) -> Serial:
    # The library waits out its time-out for more bytes at every answer: its default of a second is long enough.
    printer = Serial(devfile=str(line), baudrate=9600, timeout=1, dsrdtr=False)
    printer.open()
    return printer


def test_python_escpos_finds_the_printer_ready(serve: Serve) -> None:
    printer = open_printer(serve("escpos"))
    assert printer.is_online()
    assert printer.paper_status() == 2
    printer.text("print test\n")
    printer.cut()
    assert printer.is_online()
    printer.close()


@pytest.mark.parametrize(
    ("fault", "is_online", "paper"),
    [("paper_out", False, 0), ("paper_near", True, 1), ("cover_open", False, 2)],
)
def test_python_escpos_sees_what_is_wrong(serve: Serve, fault: str, is_online: bool, paper: int) -> None:
    printer = open_printer(serve("escpos", fault))
    assert printer.is_online() is is_online
    assert printer.paper_status() == paper
    printer.close()


def test_gammu_identifies_the_modem(serve: Serve, gammu: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    line = serve("modem")
    shown = gammu(line, "--identify")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "TILLMEDIC" in shown.stdout
    assert "490154203237518" in shown.stdout
    network = gammu(line, "--networkinfo")
    assert "home network" in network.stdout, network.stdout + network.stderr


def test_gammu_is_told_that_the_sim_is_dead(
    serve: Serve, gammu: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    shown = gammu(serve("modem", "sim_dead"), "--identify")
    assert "Can not access SIM card" in shown.stdout + shown.stderr
