"""What processes write about themselves: one JSON object a line on standard output, for the supervisor's log files.

Tracebacks are plain text without the values of variables, which may be secrets.
"""

from __future__ import annotations

import logging

import structlog


def configure_logs() -> None:
    """For a process that runs by itself; tests and short commands keep the default."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
