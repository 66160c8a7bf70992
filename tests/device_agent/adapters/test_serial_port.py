"""A serial line and sockets as byte ports: the contract of `drivers.port` on a real pty and real sockets."""

from __future__ import annotations

import os
import pty
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from device_agent.adapters.serial_port import SerialPort, open_serial
from device_agent.adapters.socket_port import open_tcp, open_unix


@pytest.fixture
def line() -> Iterator[tuple[int, SerialPort]]:
    master, slave = pty.openpty()
    port = open_serial(os.ttyname(slave), 9600, stop_bits=2)
    os.close(slave)
    yield master, port
    port.close()
    try:
        os.close(master)
    except OSError:
        # The test itself has taken the line away.
        return


def test_bytes_pass_both_ways_unchanged(line: tuple[int, SerialPort]) -> None:
    master, port = line
    every = bytes(range(256))
    port.write(every)
    assert os.read(master, 1000) == every
    os.write(master, every)
    got = b""
    while len(got) < 256:
        got += port.read(100, 5.0)
    assert got == every


def test_nothing_to_read_is_no_bytes_after_the_time(line: tuple[int, SerialPort]) -> None:
    begun = time.monotonic()
    assert line[1].read(10, 0.05) == b""
    assert 0.04 <= time.monotonic() - begun < 5
    assert line[1].read(10, 0.0) == b""


def test_a_read_gives_what_is_there_and_at_most_what_is_asked(line: tuple[int, SerialPort]) -> None:
    master, port = line
    os.write(master, b"abcdef")
    assert port.read(4, 5.0) == b"abcd"
    assert port.read(100, 5.0) == b"ef"


def test_a_line_that_is_gone_is_an_oserror(line: tuple[int, SerialPort]) -> None:
    master, port = line
    os.close(master)

    def use() -> None:
        for _ in range(10):
            port.read(10, 0.1)
            port.write(b"x")

    with pytest.raises(OSError, match=r".+"):
        use()


def test_a_line_that_does_not_open_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="could not open"):
        open_serial(str(tmp_path / "none"), 9600)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r".+"):
        open_serial(str(tmp_path / "file"), 9600)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_sockets_keep_the_same_contract(kind: str) -> None:
    with TemporaryDirectory(prefix="tm-") as folder:
        address = Path(folder) / "s"
        if kind == "unix":
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(address))
            listener.listen()
        else:
            listener = socket.create_server(("127.0.0.1", 0))
        with closing(listener):
            port = open_unix(address) if kind == "unix" else open_tcp("127.0.0.1", listener.getsockname()[1])
            other, _ = listener.accept()
            port.write(b"ping")
            assert other.recv(10) == b"ping"
            assert port.read(10, 0.02) == b""
            other.sendall(b"pong")
            assert port.read(2, 5.0) == b"po"
            assert port.read(10, 5.0) == b"ng"
            other.close()
            with pytest.raises(OSError, match="closed"):
                port.read(10, 5.0)
            port.close()
        with pytest.raises(OSError, match=r".+"):
            open_unix(Path(folder) / "none")
