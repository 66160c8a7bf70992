"""What a driver needs of a line: read what came, write, close.

Contract: `read` waits at most `timeout_s` for the first byte, answers at most `max_bytes` and `b""` when nothing came;
`read` and `write` raise OSError when the line is gone (unplugged adapter, closed pty, reset connection). Modem lines
(DTR, RTS) are no part of it: a pty has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class BytePort(Protocol):
    def read(self, max_bytes: int, timeout_s: float) -> bytes: ...

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


# Called again after the line was lost; raises OSError while it cannot be opened.
PortOpener = Callable[[], BytePort]
