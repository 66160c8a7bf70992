"""The process that `fleet_server.kit.scrubbing` starts: it takes texts and answers them without card data.

It holds nothing but this: no database, no keys, no configuration. It ends itself when a text costs more than it was
given, leaves no memory image behind, and is gone when nobody listens any more.
"""

from __future__ import annotations

import os
import resource
import socket
import struct
import sys

from protocol.redaction import scrub

REQUEST = struct.Struct(">II")  # bytes that follow, seconds of processor time for them
ANSWER = struct.Struct(">II")  # what was found, bytes that follow


def main() -> None:
    memory_bytes = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=os.dup(0)) as line:
        while head := _read(line, REQUEST.size):
            size, seconds = REQUEST.unpack(head)
            _allow(seconds)
            clean = scrub(_read(line, size).decode("utf-8", "surrogateescape"))
            text = clean.text.encode("utf-8", "surrogateescape")
            line.sendall(ANSWER.pack(len(clean.hits), len(text)) + text)


def _read(line: socket.socket, size: int) -> bytes:
    """All of it; nothing when the other side is gone."""
    parts = bytearray()
    while len(parts) < size:
        piece = line.recv(size - len(parts))
        if not piece:
            return b""
        parts += piece
    return bytes(parts)


def _allow(seconds: int) -> None:
    """From now on so much processor time; the kernel ends the process that takes more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
