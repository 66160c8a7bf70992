"""One file of a bundle in the making: text in, scrubbed bytes out, within bounds.

Invariant: nothing comes out that `StreamScrubber` has not passed; only whole lines are kept when there is no more room,
for half a line may be what the whole was not.
"""

from __future__ import annotations

import hashlib

from protocol.bundles.archive import MAX_FILE_BYTES
from protocol.bundles.manifest import Absence, File
from protocol.redaction import StreamScrubber


class Draft:
    def __init__(self, name: str, cut: Absence | None = None, limit_bytes: int = MAX_FILE_BYTES) -> None:
        self.size = 0
        self.is_full = False
        self._name, self._cut, self._limit = name, cut, limit_bytes
        self._scrubber = StreamScrubber()
        self._sha256 = hashlib.sha256()

    def feed(self, text: str) -> bytes:
        return self._kept(self._scrubber.feed(text))

    def finish(self) -> bytes:
        return self._kept(self._scrubber.finish())

    def stop(self, reason: Absence) -> None:
        """What comes after is not taken any more."""
        self._cut = reason

    @property
    def noted(self) -> File:
        scrubber = self._scrubber
        sha256 = self._sha256.hexdigest()
        return File(self._name, self.size, sha256, self._cut, scrubber.hits, scrubber.dropped_chars)

    def _kept(self, text: str) -> bytes:
        octets = text.encode("utf-8", "replace")
        if self.is_full:
            return b""
        if self.size + len(octets) > self._limit:
            octets = octets[: octets.rfind(b"\n", 0, self._limit - self.size) + 1]
            self.is_full, self._cut = True, Absence.TOO_LARGE
        self.size += len(octets)
        self._sha256.update(octets)
        return octets
