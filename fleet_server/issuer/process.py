"""The issuer as a process: a Unix socket of mode 0600, or one that systemd opened for it, answered line by line.

Invariant: only the own user, root and, on a socket that systemd made, its owner can ask; one question is answered at a
time; a peer that says nothing, or too much, is let go.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRWPair
from pathlib import Path

import structlog

from fleet_server.issuer.messages import MAX_LINE
from fleet_server.issuer.service import Issuer

_PATIENCE_S = 30.0
OCCASION_IDLE_S = 2.0
# The first word of a process made for an occasion: loading is no part of the time that it has to answer.
READY = b"+"
_LOOK_EVERY_S = 0.5
_MAX_PEERS = 32
# sd_listen_fds(3): the first descriptor that systemd hands over.
_SYSTEMD_FD = 3
_log = structlog.get_logger(__name__)


@contextmanager
def reached_by_name(path: Path) -> Iterator[str]:
    """A name of at most 107 bytes, as sockets' names must be, whatever the folder's."""
    handle = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)


def listening(path: Path) -> socket.socket:
    """The socket of systemd where there is one, else a new one at ``path``."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=_SYSTEMD_FD)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Between bind and a later chmod somebody else could connect.
    before = os.umask(0o177)
    try:
        with reached_by_name(path) as name:
            listener.bind(name)
    finally:
        os.umask(before)
    listener.listen()
    return listener


def serve(issuer: Issuer, listener: socket.socket, stop: threading.Event) -> None:
    """Until ``stop`` is set."""
    one_at_a_time = threading.Lock()
    room = threading.BoundedSemaphore(_MAX_PEERS)
    listener.settimeout(_LOOK_EVERY_S)
    allowed = {os.getuid(), 0} | _owner_of(listener)
    while not stop.is_set():
        with suppress(TimeoutError):
            peer, _ = listener.accept()
            if _user_of(peer) not in allowed or not room.acquire(blocking=False):
                _log.warning("a peer was let go", user=_user_of(peer))
                peer.close()
                continue
            threading.Thread(target=_serve_peer, args=(issuer, peer, one_at_a_time, room), daemon=True).start()


def serve_one(issuer: Issuer, peer: socket.socket) -> None:
    """Until the peer closes its end, or has nothing to ask for a while: one that lives long must not keep the folder
    from the issuer that stays. It asks a new one then.
    """
    peer.settimeout(OCCASION_IDLE_S)
    with suppress(TimeoutError, ConnectionError), peer, peer.makefile("rwb") as stream:
        peer.sendall(READY)
        _answer_lines(issuer, stream, threading.Lock())


def _serve_peer(issuer: Issuer, peer: socket.socket, lock: threading.Lock, room: threading.BoundedSemaphore) -> None:
    try:
        peer.settimeout(_PATIENCE_S)
        with suppress(OSError), peer, peer.makefile("rwb") as stream:
            _answer_lines(issuer, stream, lock)
    finally:
        room.release()


def _answer_lines(issuer: Issuer, stream: BufferedRWPair, lock: threading.Lock) -> None:
    while line := stream.readline(MAX_LINE):
        if not line.endswith(b"\n"):
            return
        with lock:
            answer = issuer.answer(line)
        stream.write(answer + b"\n")
        stream.flush()


def _user_of(peer: socket.socket) -> int:
    _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(user)


def _owner_of(listener: socket.socket) -> set[int]:
    """Of a socket that systemd made: it belongs to whom the unit lets in."""
    name = listener.getsockname()
    with suppress(OSError):
        return {Path(name).stat().st_uid} if isinstance(name, str) and not name.startswith("/proc/") else set()
    return set()
