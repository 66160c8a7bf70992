"""What processes write about themselves: one JSON object a line on standard output, for the supervisor's log files.

Tracebacks are plain text without the values of variables, which may be secrets. Each value, and what nobody caught,
is scrubbed of card data: the text of an exception may be what a device or a person sent. Rows of the database do not
come along with its errors.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import structlog

from protocol.redaction import scrub_json
from protocol.shown_text import one_line

# What PostgreSQL adds to an error: the values of the row, which may be about people.
_ROW = re.compile(r"^DETAIL:.*$", re.MULTILINE)
_log = structlog.get_logger(__name__)


def configure_logs() -> None:
    """For a process that runs by itself; tests and short commands keep the default."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            without_rows,
            without_card_data,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_in_one_line, ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def without_rows(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A step of structlog's chain, after exceptions have become text."""
    return {
        name: _ROW.sub("DETAIL: (left out)", value) if isinstance(value, str) else value
        for name, value in event.items()
    }


def without_card_data(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A step of structlog's chain, after exceptions have become text."""
    return {
        name: scrub_json(value if isinstance(value, (bool, int, float, str, list, dict, type(None))) else repr(value))
        for name, value in event.items()
    }


def _in_one_line(event: Any, **how: Any) -> str:
    """JSON leaves in what other readers take for an end of a line, and what turns writing round."""
    return one_line(json.dumps(event, **how))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        _log.critical("the process ends by a mistake of its own", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log.critical("a thread ends by a mistake of its own", exc_info=args.exc_value)
