from __future__ import annotations

import os
import select
import socket
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial

from simulators.errors import FaultUnknown
from simulators.peripherals.at_modem import AtModem
from simulators.peripherals.escpos_printer import EscposPrinter
from simulators.peripherals.zvt_terminal import ZvtTerminal
from simulators.serial_line import SerialLine

pytestmark = pytest.mark.integration

DEADLINE_S = 20.0
QUIET_S = 0.3


@pytest.fixture
def line(tmp_path: Path) -> Iterator[SerialLine]:
    with SerialLine(EscposPrinter(), seed=4, link=tmp_path / "prn0") as opened:
        yield opened


def ask(port: serial.Serial, request: bytes, count: int = 1) -> bytes:
    port.write(request)
    port.timeout = DEADLINE_S
    return bytes(port.read(count))


def stays_silent(port: serial.Serial, request: bytes) -> bool:
    port.timeout = QUIET_S
    port.write(request)
    return port.read(1) == b""


def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.02)
    return True


def test_program_opens_the_line_by_its_link_and_is_answered(line: SerialLine) -> None:
    with serial.Serial(line.path, 9600, stopbits=serial.STOPBITS_TWO) as port:
        assert ask(port, b"\x10\x04\x01") == b"\x12"


def test_no_byte_is_changed_by_the_line_discipline(line: SerialLine) -> None:
    text = bytes(range(0x20, 0x7F))
    with serial.Serial(line.path) as port:
        port.write(text + b"\x03\x04\x11\x13\x1a\x7f\x00\r\n")
        assert ask(port, b"\x1dr\x01") == b"\x00"
    printer = line.peripheral
    assert isinstance(printer, EscposPrinter)
    assert printer.printed_text()[0].startswith(text.decode())


def test_line_is_opened_and_closed_many_times(line: SerialLine) -> None:
    for _ in range(20):
        with serial.Serial(line.path) as port:
            assert ask(port, b"\x10\x04\x04") == b"\x12"


def test_cut_cable_passes_nothing_and_keeps_the_link(line: SerialLine) -> None:
    with serial.Serial(line.path) as port:
        line.cut()
        assert stays_silent(port, b"\x10\x04\x01")
        assert Path(line.path).is_symlink()
        line.plug()
        assert ask(port, b"\x10\x04\x01") == b"\x12"


def test_unplugged_adapter_hangs_its_user_up_and_comes_back_under_the_same_link(line: SerialLine) -> None:
    with serial.Serial(line.path) as port:
        assert ask(port, b"\x10\x04\x01") == b"\x12"
        line.unplug()
        assert until(lambda: not Path(line.path).exists())
        with pytest.raises(OSError, match=r".+"):
            ask(port, b"\x10\x04\x01")
    line.plug()
    assert until(lambda: Path(line.path).exists())
    with serial.Serial(line.path) as port:
        assert ask(port, b"\x10\x04\x01") == b"\x12"


def test_line_fault_and_device_fault_go_by_one_name_each(line: SerialLine) -> None:
    with serial.Serial(line.path) as port:
        line.apply_fault("paper_out")
        assert ask(port, b"\x10\x04\x04") == b"\x7e"
        line.apply_fault("cable_out")
        assert line.faults() == {"paper_out", "cable_out"}
        assert stays_silent(port, b"\x10\x04\x01")
        line.clear_fault("cable_out")
        assert ask(port, b"\x10\x04\x04") == b"\x7e"
        line.clear_fault()
        assert ask(port, b"\x10\x04\x04") == b"\x12"
    with pytest.raises(FaultUnknown):
        line.apply_fault("sim_dead")
    assert {"cable_out", "printer_cable", "paper_out"} <= line.known_faults()


def test_noise_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    def carried(seed: int) -> bytes:
        line = SerialLine(EscposPrinter(), seed=seed)
        line.set_noise(damaged_share=0.3, dropped_share=0.2)
        return b"".join(line._carry(bytes(range(64))) for _ in range(10))

    assert carried(1) == carried(1)
    assert carried(1) != carried(2)
    assert len(carried(1)) < 640


def test_wrong_speed_turns_bytes_into_others(line: SerialLine) -> None:
    line.apply_fault("baud_mismatch")
    with serial.Serial(line.path, timeout=QUIET_S) as port:
        answers = set()
        for _ in range(3):
            port.write(b"\x10\x04\x01" * 20)
            answers.add(bytes(port.read(64)))
    assert answers != {b"\x12" * 20}


def test_reader_that_does_not_read_loses_bytes_and_blocks_nobody(line: SerialLine) -> None:
    reader = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
    try:
        # One try may find room that the next does not: ask until the pty is full.
        assert until(lambda: os.write(reader, b"\x10\x04\x01" * 300) > 0 and line.lost_bytes > 0)
        termios.tcflush(reader, termios.TCIOFLUSH)
    finally:
        os.close(reader)
    with serial.Serial(line.path) as port:
        port.reset_input_buffer()
        assert ask(port, b"\x10\x04\x01") == b"\x12"


def test_stopping_removes_the_link_and_ends_the_thread(tmp_path: Path) -> None:
    line = SerialLine(AtModem(), seed=1, link=tmp_path / "mdm0")
    line.start()
    assert (tmp_path / "mdm0").is_symlink()
    line.stop()
    assert not (tmp_path / "mdm0").is_symlink()
    assert line._thread is not None
    assert not line._thread.is_alive()


def test_link_left_by_an_earlier_run_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "mdm0").symlink_to("/dev/null")
    with SerialLine(AtModem(), seed=1, link=tmp_path / "mdm0") as line, serial.Serial(line.path) as port:
        assert b"OK" in ask(port, b"ATE0\r", 11)


def test_modem_tells_unasked_what_happened(tmp_path: Path) -> None:
    with SerialLine(AtModem(), seed=1, link=tmp_path / "mdm0") as line, serial.Serial(line.path) as port:
        ask(port, b"ATE0\r", 11)
        assert ask(port, b"AT+CEREG=1\r", 6) == b"\r\nOK\r\n"
        line.apply_fault("cell_outage")
        assert ask(port, b"", 13) == b"\r\n+CEREG: 2\r\n"


def test_terminal_answers_on_tcp_and_pty_at_once(tmp_path: Path) -> None:
    enquiry = bytes.fromhex("050103000000")
    with SerialLine(ZvtTerminal(), seed=1, link=tmp_path / "zvt0", tcp=("127.0.0.1", 0)) as line:
        assert line.tcp_address is not None
        for _ in range(2):
            with socket.create_connection(line.tcp_address, timeout=DEADLINE_S) as register:
                register.sendall(enquiry)
                assert register.recv(3, socket.MSG_WAITALL) == bytes.fromhex("800000")
        with serial.Serial(line.path) as port:
            assert ask(port, bytes.fromhex("10020501031234561003e043")) == b"\x06"
