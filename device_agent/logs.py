"""What the agent writes about itself: lines on standard error, scrubbed of card data as a whole, tracebacks included.

The text of an exception may be what a device said, so it is scrubbed after it was formatted. What nobody caught goes
the same way, from any thread. `faulthandler` writes places in the program only, never a value.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
from types import TracebackType

from protocol.redaction import scrub

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_log = logging.getLogger(__name__)


class ScrubbedFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record)).text


def configure_logs(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ScrubbedFormatter(_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


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
