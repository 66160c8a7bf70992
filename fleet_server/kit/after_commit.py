"""What is to be done once a transaction is durable, and only then: publishing, hints to streams.

Actions run in the thread that commits, before the answer is sent, in the order they were given. They must not raise
and must not use the session.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import event
from sqlmodel import Session

_KEY = "after_commit"


def after_commit(session: Session, action: Callable[[], None]) -> None:
    """``action`` is dropped when the transaction is rolled back."""
    waiting: list[Callable[[], None]] | None = session.info.get(_KEY)
    if waiting is None:
        waiting = session.info[_KEY] = []
        event.listen(session, "after_commit", _run)
        event.listen(session, "after_rollback", _drop)
    waiting.append(action)


def _run(session: Session) -> None:
    waiting: list[Callable[[], None]] = session.info.get(_KEY, [])
    actions, waiting[:] = list(waiting), []
    for action in actions:
        action()


def _drop(session: Session) -> None:
    session.info.get(_KEY, []).clear()
