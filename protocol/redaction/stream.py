"""Scrubs text that arrives in pieces: a number split over two chunks or lines is found as if it had come at once.

Holds back a bounded tail, because what looks harmless may be the beginning of a number. What is given out is final.
Where the bound is reached without a place to cut, everything up to the line's end is dropped: nothing sensible in a log
is that long without a blank.
"""

from __future__ import annotations

from protocol.redaction.scrubber import find_card_data, scrub

# Longer than any written form: 104 characters of track 3, each as "\\x3b ".
HELD_BACK_CHARS = 640
MAX_HELD_CHARS = 64 * 1024
_CONTEXT_CHARS = 48  # a value is often known by the name before it: "PIN: "
_DROPPED_RUN = "[DROPPED: RUN TOO LONG]"


class StreamScrubber:
    """Feed it what was read; it answers what may be passed on. Close it with `finish`."""

    def __init__(self) -> None:
        self._held = ""
        self._scan_at_chars = 2 * HELD_BACK_CHARS  # doubles while no cut is found, so that work stays linear
        self._is_dropping = False
        self.dropped_chars = 0  # in runs that were too long

    def feed(self, chunk: str) -> str:
        """Text that is safe to pass on; may be empty."""
        parts: list[str] = []
        for start in range(0, len(chunk), MAX_HELD_CHARS):
            self._held += self._after_dropped_run(chunk[start : start + MAX_HELD_CHARS])
            parts.append(self._take_safe())
        return "".join(parts)

    def finish(self) -> str:
        """What was held back, scrubbed: the source is idle or at its end."""
        rest, self._held = scrub(self._held).text, ""
        self._scan_at_chars = 2 * HELD_BACK_CHARS
        return rest

    def _take_safe(self) -> str:
        if len(self._held) < self._scan_at_chars:
            return ""
        cut = self._safe_cut()
        if cut == 0 and len(self._held) <= MAX_HELD_CHARS:
            self._scan_at_chars = 2 * len(self._held)
            return ""
        self._scan_at_chars = 2 * HELD_BACK_CHARS
        if cut == 0:
            return self._drop_run()
        safe, self._held = self._held[:cut], self._held[cut:]
        return scrub(safe).text

    def _safe_cut(self) -> int:
        """The last place before the tail that is a blank between words and in no finding; 0 when there is none."""
        findings = find_card_data(self._held)
        cut = len(self._held) - HELD_BACK_CHARS
        while cut > 0:
            cut = self._blank_before(cut)
            around = next((found for found in findings if found.start - _CONTEXT_CHARS < cut < found.end), None)
            if around is None:
                return cut
            cut = around.start - _CONTEXT_CHARS
        return 0

    def _blank_before(self, position: int) -> int:
        """After a blank that does not group a number: no digit before it."""
        for at in range(position, 1, -1):
            if self._held[at - 1].isspace() and not self._held[at - 2].isdigit():
                return at
        return 0

    def _drop_run(self) -> str:
        self._is_dropping = True
        self.dropped_chars += len(self._held)
        self._held = ""
        return _DROPPED_RUN

    def _after_dropped_run(self, piece: str) -> str:
        if not self._is_dropping:
            return piece
        dropped, line_end, rest = piece.partition("\n")
        self.dropped_chars += len(dropped)
        self._is_dropping = not line_end
        return line_end + rest
