"""Bytes to and from the broker over TLS 1.3, without blocking; the worker's thread says when to read.

TLS is done in memory over a plain socket: a broker writes each message as a record of its own, and a TLS socket asks
the kernel twice for each. Here one call fetches what is there.

Invariant: ``read`` takes at most ``MAX_READ_BYTES`` from the kernel; whatever is not read stays there, and then in the
broker.
"""

from __future__ import annotations

import select
import socket
import ssl

MAX_READ_BYTES = 256 * 1024
_RECORD_BYTES = 16 * 1024


class StreamEnded(OSError):
    """The other side is gone."""


class TlsStream:
    """Raises ``OSError`` (``ssl.SSLError`` is one) whenever the connection is of no use any more."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, timeout_s: float) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = b""
        self._socket = socket.create_connection((host, port), timeout_s)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._shake_hands()
        except BaseException:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def read(self) -> bytes:
        """What is there now; empty when nothing is."""
        try:
            data = self._socket.recv(MAX_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return b""
        if not data:
            raise StreamEnded("the broker closed the connection")
        self._incoming.write(data)
        pieces: list[bytes] = []
        while True:
            try:
                piece = self._tls.read(_RECORD_BYTES)
            except ssl.SSLWantReadError:
                break
            if not piece:
                raise StreamEnded("the broker closed the connection")
            pieces.append(piece)
        return b"".join(pieces)

    def write(self, data: bytearray) -> bool:
        """Takes all of ``data``, or nothing while the kernel has not taken what was written before (`is_behind`)."""
        self._send()
        if self.is_behind:
            return False
        self._tls.write(data)
        data.clear()
        self._send()
        return True

    @property
    def is_behind(self) -> bool:
        return bool(self._unsent)

    def wait(self, wait_s: float) -> bool:
        """Whether there is something to read, after at most ``wait_s``; sends meanwhile what waits."""
        readable, writable, _ = select.select([self._socket], [self._socket] if self.is_behind else [], [], wait_s)
        if writable:
            self._send()
        return bool(readable)

    def push(self, wait_s: float) -> bool:
        """Whether the other side has taken more of what waits, after at most ``wait_s``."""
        _, writable, _ = select.select([], [self._socket], [], wait_s)
        if writable:
            self._send()
        return bool(writable)

    def close(self) -> None:
        self._socket.close()

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._socket.sendall(self._outgoing.read())
                data = self._socket.recv(MAX_READ_BYTES)
                if not data:
                    raise StreamEnded("the broker closed the connection in the handshake") from None
                self._incoming.write(data)
            else:
                self._socket.sendall(self._outgoing.read())
                return

    def _send(self) -> None:
        self._unsent += self._outgoing.read()
        if self._unsent:
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except (BlockingIOError, InterruptedError):
                return
