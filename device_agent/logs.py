"""What the agent writes about itself: lines on standard error, scrubbed of card data as a whole, tracebacks included.

The text of an exception may be what a device said, so it is scrubbed after it was formatted. What nobody caught goes
the same way, from any thread. `faulthandler` writes places in the program only, never a value.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
from collections import deque
from types import TracebackType
from typing import Final

from protocol.redaction import scrub
from protocol.shown_text import lines, one_line

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# Kept in memory for bundles: a terminal's flash is not worn out by what nobody may ever read.
RECENT_LINES: Final = 2000
_RECENT_CHARS: Final = 500
_log = logging.getLogger(__name__)


class ScrubbedFormatter(logging.Formatter):
    """One record is one line; what belongs to it below is indented, so that nothing in it can pass for another."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return one_line(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        first, *below = lines(scrub(super().format(record)).text).split("\n")
        return "\n".join([first, *(f"    {line}" for line in below)])


class RecentLines(logging.Handler):
    """The last lines, as they were written."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=RECENT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.extend(line[:_RECENT_CHARS] for line in self.format(record).split("\n"))

    def lines(self) -> list[str]:
        return list(self._lines.copy())


def configure_logs(level: int) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr), RecentLines()]
    for handler in handlers:
        handler.setFormatter(ScrubbedFormatter(_FORMAT))
    logging.basicConfig(level=level, handlers=handlers)


def recent_lines() -> list[str]:
    """What this process wrote about itself lately."""
    kept = [one for one in logging.getLogger().handlers if isinstance(one, RecentLines)]
    return kept[0].lines() if kept else []


def catch_crashes() -> None:
    """For a process that runs by itself: what nobody catches is logged like anything else."""
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    faulthandler.enable()


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    _log.critical("the program ends by a mistake of its own", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log.critical("a thread ends by a mistake of its own", exc_info=args.exc_value)
