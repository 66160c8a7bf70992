from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from fleet_server.kit.conflicts import Conflicts


class Work:
    """Fails with each of ``errors`` in turn, then answers 7."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return 7


def deadlock() -> OperationalError:
    return OperationalError("UPDATE device", {}, psycopg.errors.DeadlockDetected("deadlock detected"))


def test_what_a_deadlock_ended_is_done_once_more_and_counted() -> None:
    conflicts, work = Conflicts(), Work(deadlock())
    assert conflicts.once_more(work) == 7
    assert (work.calls, conflicts.retried) == (2, 1)


def test_a_second_deadlock_is_the_callers() -> None:
    conflicts, work = Conflicts(), Work(deadlock(), deadlock())
    with pytest.raises(OperationalError):
        conflicts.once_more(work)
    assert (work.calls, conflicts.retried) == (2, 1)


def test_other_errors_are_not_tried_again() -> None:
    conflicts, work = Conflicts(), Work(IntegrityError("INSERT", {}, psycopg.errors.UniqueViolation("twice")))
    with pytest.raises(IntegrityError):
        conflicts.once_more(work)
    assert (work.calls, conflicts.retried) == (1, 0)
