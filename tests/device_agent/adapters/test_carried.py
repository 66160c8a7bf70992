"""What the kernel says that a connection has carried, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from device_agent.adapters.carried import Carried, carried_by

SENT = 300_000


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    try:
        server = socket.create_server((request.param, 0), family=socket.AF_INET6 if ":" in request.param else 2)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server, socket.create_connection(server.getsockname()[:2]) as near:
        far, _ = server.accept()
        with far:
            yield near, far


def pour(near: socket.socket, far: socket.socket, size: int) -> None:
    sending = threading.Thread(target=near.sendall, args=(b"x" * size,))
    sending.start()
    left = size
    while left:
        left -= len(far.recv(65_536))
    sending.join()


def test_both_ways_are_counted_with_the_headers_of_each_packet(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    opened = carried_by(near)
    assert 0 < opened < 1000
    pour(near, far, SENT)
    pour(far, near, SENT)
    assert 2 * SENT < carried_by(near) - opened < 3 * SENT


def test_the_sum_goes_on_over_connections_that_were_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    carried = Carried()
    carried.add(near)
    pour(near, far, SENT)
    before = carried.total()
    assert before > SENT
    carried.drop(near)
    near.close()
    assert carried.total() >= before
    again = carried.total()
    carried.drop(near)
    assert carried.total() == again


def test_what_is_no_connection_of_tcp_counts_nothing() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert carried_by(near) == 0
