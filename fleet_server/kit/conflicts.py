"""Transactions that the database ended in favour of another: done once more, and counted.

The order in which rows are locked (`fleet_server.db`) leaves nothing to deadlock; this is for what an operator's own
statements or a stricter isolation level bring. Only for work that is one whole transaction: the first attempt then left
nothing behind, and what waits for its commit (`fleet_server.kit.after_commit`) was dropped with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

Answer = TypeVar("Answer")
# SQLSTATE of PostgreSQL: could not serialise, deadlock detected.
_CONFLICTS = {"40001", "40P01"}
_log = structlog.get_logger(__name__)


class Conflicts:
    """``retried``: how many transactions were done once more."""

    def __init__(self) -> None:
        self.retried = 0

    def once_more(self, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except DBAPIError as error:
            if not is_conflict(error):
                raise
            self.retried += 1
            _log.warning("a transaction is done once more", sqlstate=error.orig.sqlstate)  # type: ignore[union-attr]  # `is_conflict` has looked
        return work()


def is_conflict(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) in _CONFLICTS
