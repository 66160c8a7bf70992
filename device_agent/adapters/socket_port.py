"""A byte port over a stream socket: the terminal's own service (Unix) or a device reached by TCP.

Keeps the contract of `drivers.port`: a closed or reset connection is an OSError, nothing to read in time is `b""`.
"""

from __future__ import annotations

import socket
from pathlib import Path

CONNECT_TIMEOUT_S = 3.0
WRITE_TIMEOUT_S = 3.0


class SocketPort:
    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        # Zero would mean non-blocking, which tells "nothing yet" by another error than a timeout does.
        self._socket.settimeout(max(timeout_s, 0.0001))
        try:
            data = self._socket.recv(max_bytes)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionResetError("the other side closed the connection")
        return data

    def write(self, data: bytes) -> None:
        self._socket.settimeout(WRITE_TIMEOUT_S)
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


def open_unix(path: Path) -> SocketPort:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_TIMEOUT_S)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return SocketPort(connection)


def open_tcp(host: str, port: int) -> SocketPort:
    connection = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
    # A request is one small segment: waiting for more of it costs 40 ms an exchange.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketPort(connection)
