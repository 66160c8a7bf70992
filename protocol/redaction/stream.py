"""Scrubs text that arrives in pieces: what comes out is what `scrub` makes of all of it at once, however it was cut.

Whole lines are passed on, up to the last break that no rule looks across (`borders`); the rest is held back, because
what looks harmless may be the beginning of a number. What is given out is final. Where the bound is reached without
such a break, everything up to the line's end is dropped: nothing sensible in a log is that long without one.
"""

from __future__ import annotations

from protocol.redaction.borders import ESCAPED_REACH, last_border
from protocol.redaction.scrubber import scrub, scrub_folded
from protocol.redaction.views import fold

MAX_HELD_CHARS = 64 * 1024
HELD_BACK_CHARS = ESCAPED_REACH  # what has to be known behind a break to say whether it is a border
_DROPPED_RUN = "[DROPPED: RUN TOO LONG]"


class StreamScrubber:
    """Feed it what was read; it answers what may be passed on. Close it with `finish`."""

    def __init__(self) -> None:
        self._held = ""  # begins at a border
        self._scan_at_chars = 2 * HELD_BACK_CHARS  # doubles while no border is found, so that work stays linear
        self._is_dropping = False
        self.dropped_chars = 0  # in runs that were too long
        self.hits = 0  # what was taken out

    def feed(self, chunk: str) -> str:
        """Text that is safe to pass on; may be empty."""
        parts: list[str] = []
        for start in range(0, len(chunk), MAX_HELD_CHARS):
            self._held += self._after_dropped_run(chunk[start : start + MAX_HELD_CHARS])
            while len(self._held) >= self._scan_at_chars:
                parts.append(self._take_safe())
        return "".join(parts)

    def finish(self) -> str:
        """What was held back, scrubbed: the source is idle or at its end."""
        rest, self._held = scrub(self._held), ""
        self._scan_at_chars = 2 * HELD_BACK_CHARS
        self.hits += len(rest.hits)
        return rest.text

    def _take_safe(self) -> str:
        # Never beyond the bound: whether a run is too long may not depend on how much came at once.
        window = fold(self._held[: MAX_HELD_CHARS + HELD_BACK_CHARS])
        cut = last_border(window, len(window) - HELD_BACK_CHARS)
        if cut == 0 and len(window) < MAX_HELD_CHARS + HELD_BACK_CHARS:
            self._scan_at_chars = min(2 * len(window), MAX_HELD_CHARS + HELD_BACK_CHARS)
            return ""
        self._scan_at_chars = 2 * HELD_BACK_CHARS
        if cut == 0:
            return self._drop_run()
        safe, self._held = self._held[:cut], self._held[cut:]
        scrubbed = scrub_folded(safe, window[:cut])
        self.hits += len(scrubbed.hits)
        return scrubbed.text

    def _drop_run(self) -> str:
        held, self._held = self._held, ""
        self._is_dropping = True
        self.dropped_chars += MAX_HELD_CHARS
        self._held = self._after_dropped_run(held[MAX_HELD_CHARS:])
        return _DROPPED_RUN

    def _after_dropped_run(self, piece: str) -> str:
        if not self._is_dropping:
            return piece
        dropped, line_end, rest = piece.partition("\n")
        self.dropped_chars += len(dropped)
        self._is_dropping = not line_end
        return line_end + rest
