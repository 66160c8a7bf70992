from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from simulators.tcp_proxy import NetworkFaults, TcpProxy

pytestmark = pytest.mark.integration
WAIT_S = 10.0


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that says back what it hears."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=say_back, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def say_back(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            return


@pytest.fixture
def proxy(echo_port: int) -> Iterator[TcpProxy]:
    proxy = TcpProxy(("127.0.0.1", echo_port), seed=7)
    proxy.start()
    yield proxy
    proxy.stop()


def call(proxy: TcpProxy, timeout_s: float = WAIT_S) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout_s)


def echoed(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    heard = b""
    while len(heard) < len(data) and (more := connection.recv(65536)):
        heard += more
    return heard


def test_bytes_pass_unchanged_and_in_order(proxy: TcpProxy) -> None:
    data = bytes(range(256)) * 2000
    with closing(call(proxy)) as connection:
        assert echoed(connection, data) == data


def test_blackhole_swallows_without_a_word_and_resets_when_it_ends(proxy: TcpProxy) -> None:
    with closing(call(proxy)) as connection:
        assert echoed(connection, b"before") == b"before"
        proxy.set_faults(blackhole=True)
        connection.settimeout(0.3)
        connection.sendall(b"lost")
        with pytest.raises(TimeoutError):
            connection.recv(10)
        connection.settimeout(WAIT_S)
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            connection.recv(10)
    with closing(call(proxy)) as connection:
        assert echoed(connection, b"after") == b"after"


def test_refused_connection_is_closed_at_once(proxy: TcpProxy) -> None:
    proxy.set_faults(refuse=True)
    with closing(call(proxy)) as connection:
        try:
            assert connection.recv(10) == b""
        except ConnectionResetError:
            assert proxy.faults.refuse


def test_connection_is_cut_after_so_many_bytes(proxy: TcpProxy) -> None:
    proxy.set_faults(cut_after_bytes=10)
    with closing(call(proxy)) as connection:
        try:
            heard = echoed(connection, b"x" * 100)
        except ConnectionResetError:
            heard = b""
    assert len(heard) <= 10


def test_healing_takes_every_fault_away(proxy: TcpProxy) -> None:
    proxy.set_faults(delay_s=0.1, bytes_per_s=10.0, cut_after_bytes=3)
    proxy.heal()
    assert proxy.faults == NetworkFaults()
