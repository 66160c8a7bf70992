"""Foreign bytes as text: each line UTF-8, else what Chinese terminals write instead."""

from __future__ import annotations

from typing import Final

# Between two line ends; a longer run is cut there, so that memory stays bounded.
MAX_LINE_BYTES: Final = 64 * 1024


def decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("gb18030", errors="replace")


class LineDecoder:
    """The same for bytes that come in pieces: whole lines are passed on, the beginning of one is held back."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> str:
        *lines, self._held = (self._held + chunk).split(b"\n")
        text = "".join(f"{decoded(line)}\n" for line in lines)
        if len(self._held) > MAX_LINE_BYTES:
            text += self.finish()
        return text

    def finish(self) -> str:
        rest, self._held = self._held, b""
        return decoded(rest)
