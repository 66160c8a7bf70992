"""How many bytes connections have really carried, as the kernel counts them: with TLS, handshakes, what was sent again,
and the headers of every packet, for that is what a carrier counts.

Only for TCP on Linux; elsewhere nothing is counted. Headers are reckoned from the number of packets.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Final

# struct tcp_info of linux/tcp.h: offsets of what is read. `bytes_sent`, with what was sent again, came with Linux 4.19.
_BYTES_ACKED: Final = 120
_BYTES_RECEIVED: Final = 128
_SEGMENTS: Final = 136  # out and in, 32 bits each
_BYTES_SENT: Final = 200
_ENOUGH: Final = _SEGMENTS + 8
_WHOLE: Final = _BYTES_SENT + 8
# IPv4 (RFC 791) or IPv6 (RFC 8200), then TCP (RFC 9293) with the timestamps that Linux adds (RFC 7323).
_HEADERS: Final = {socket.AF_INET: 20 + 20 + 12, socket.AF_INET6: 40 + 20 + 12}


def carried_by(sock: socket.socket) -> int:
    """Both ways, since it was connected; 0 where nobody can tell."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None or sock.family not in _HEADERS:
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, option, 256)
    except OSError:
        return 0
    if len(info) < _ENOUGH:
        return 0
    (sent,) = struct.unpack_from("=Q", info, _BYTES_SENT if len(info) >= _WHOLE else _BYTES_ACKED)
    (received,) = struct.unpack_from("=Q", info, _BYTES_RECEIVED)
    packets = sum(struct.unpack_from("=II", info, _SEGMENTS))
    return int(sent + received + packets * _HEADERS[sock.family])


class Carried:
    """The sum of all connections of a link. Its threads open and close them; anybody asks."""

    def __init__(self) -> None:
        self._closed = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()

    def add(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.append(sock)

    def drop(self, sock: socket.socket) -> None:
        """Before it is closed; once more changes nothing."""
        with self._lock, suppress(ValueError):
            self._open.remove(sock)
            self._closed += carried_by(sock)

    def total(self) -> int:
        with self._lock:
            return self._closed + sum(carried_by(sock) for sock in self._open)
