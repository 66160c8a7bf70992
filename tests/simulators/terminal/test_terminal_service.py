"""The terminal's service on its socket: many clients, nonsense, and a reboot that really takes it away."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from device_agent.adapters.app_log import AppLog
from device_agent.adapters.socket_port import open_unix
from device_agent.drivers.terminal import wire
from device_agent.drivers.terminal.device import TerminalDevice
from device_agent.errors import DeviceNotAnswering
from protocol.catalogue.vocabulary import TerminalClass
from simulators.terminal import SimulatedTerminal

DEADLINE_S = 20.0


@pytest.fixture
def folder() -> Iterator[Path]:
    # A socket's address is short; the test runner's own folders need not be.
    with TemporaryDirectory(prefix="tm-") as name:
        yield Path(name)


@pytest.fixture
def terminal(folder: Path) -> Iterator[SimulatedTerminal]:
    served = SimulatedTerminal(
        TerminalClass.E_SIGN,
        socket_path=folder / "service.sock",
        log_path=folder / "pay.log",
        trade_every_s=0.2,
        reboot_s=0.4,
        app_start_s=0.1,
    )
    served.start()
    yield served
    served.stop()


@pytest.fixture
def device(folder: Path) -> Iterator[TerminalDevice]:
    opened = TerminalDevice(lambda: open_unix(folder / "service.sock"), timeout_s=5)
    yield opened
    opened.close()


def eventually(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s, "did not come about in time"
        time.sleep(0.02)


def test_poll_over_the_socket_is_alive(terminal: SimulatedTerminal, device: TerminalDevice) -> None:
    result = device.poll(datetime.now(UTC))
    assert result.alive
    assert result.state.description is not None
    assert result.state.description.serial_number == terminal.serial_number


def test_the_socket_is_for_its_owner_only(terminal: SimulatedTerminal, folder: Path) -> None:
    assert (folder / "service.sock").stat().st_mode & 0o777 == 0o600


def test_nonsense_is_refused_line_by_line_and_the_connection_stays(terminal: SimulatedTerminal, folder: Path) -> None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(folder / "service.sock"))
        connection.sendall(b"\x00\xff\n[]\n" + wire.encode_request(9, "open_sesame", {}))
        connection.sendall(wire.encode_request(10, "describe", {}))
        reader = wire.reply_reader()
        replies: list[wire.Reply | wire.LineNoise] = []
        while len(replies) < 4:
            replies += reader.feed(connection.recv(4096))
        assert [reply.ok for reply in replies if isinstance(reply, wire.Reply)] == [False, False, False, True]


def test_a_reboot_takes_the_service_away_and_brings_it_back_with_another_boot(
    terminal: SimulatedTerminal, device: TerminalDevice, folder: Path
) -> None:
    boot = device.boot()
    # Nobody pays: it would not go down.
    terminal.trade_every_s = 0
    terminal.memory.trade.busy_until_s = -1.0
    device.reboot()
    eventually(lambda: not (folder / "service.sock").exists())
    with pytest.raises(DeviceNotAnswering):
        device.describe()
    eventually((folder / "service.sock").exists)
    assert device.boot() != boot
    eventually(lambda: device.app_status().alive)


def test_it_trades_and_writes_what_a_payment_application_writes(terminal: SimulatedTerminal, folder: Path) -> None:
    log = folder / "pay.log"
    eventually(lambda: log.exists() and "field39=00" in log.read_text("utf-8"))
    assert "field39=00" in log.read_text("utf-8")


def test_a_fault_stands_in_the_log_that_the_agent_follows(terminal: SimulatedTerminal, folder: Path) -> None:
    log = AppLog(folder / "pay.log", "e_sign", is_new_read_from_start=True)
    terminal.apply_fault("merchant_disabled")
    found: set[str] = set()

    def has_code() -> bool:
        found.update(sign.code for sign in log.follow())
        return "unionpay39.03" in found

    eventually(has_code)
    log.close()
    assert "unionpay39.03" in found


def test_faults_may_be_changed_while_it_serves(terminal: SimulatedTerminal, device: TerminalDevice) -> None:
    for _ in range(20):
        terminal.apply_fault("sim_dead")
        assert "cme.13" in {sign.code for sign in device.poll(datetime.now(UTC)).faults}
        terminal.clear_fault()
        assert device.poll(datetime.now(UTC)).faults == frozenset()


def test_a_terminal_runs_alone_and_ends_when_told(folder: Path) -> None:
    path = folder / "alone.sock"
    command = [sys.executable, "-m", "simulators", "terminal", "smart", "--socket", str(path), "--fault", "paper_out"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        eventually(path.exists)
        device = TerminalDevice(lambda: open_unix(path), timeout_s=5)
        assert "term.PRN_NO_PAPER" in {sign.code for sign in device.poll(datetime.now(UTC)).faults}
        device.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_S) == 0
    finally:
        process.kill()
        process.communicate()
    assert not path.exists()


def test_a_fault_that_does_not_fit_ends_with_one_sentence(folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "simulators",
        "terminal",
        "esign",
        "--socket",
        str(folder / "x"),
        "--fault",
        "paper_out",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 2
    assert "paper_out" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
