"""One process among many leads: the one that holds a lock which ends with it, however it ends.

On PostgreSQL a session's advisory lock on a connection of its own; on SQLite, where all processes share a machine, a
lock on a file beside the database. A leader that has lost its connection is none any more and finds out at `holds`.
"""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError


class Leadership:
    def __init__(self, engine: Engine, name: str, lock_number: int) -> None:
        """``lock_number``: any constant of its own, the same in every process that competes."""
        self._engine = engine
        self._name = name
        self._lock_number = lock_number
        self._connection: Connection | None = None
        self._file: IO[bytes] | None = None

    def holds(self) -> bool:
        """Whether this process leads, taking the lead when it is free."""
        if self._engine.dialect.name == "postgresql":
            return self._holds_advisory_lock()
        return self._file is not None or self._take_file()

    def give_up(self) -> None:
        if self._connection is not None:
            # A connection that was cut has lost the lock already.
            with suppress(SQLAlchemyError):
                self._connection.execute(text(f"SELECT pg_advisory_unlock({self._lock_number})"))
            # Closed for good: a connection back in the pool might keep the lock.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _holds_advisory_lock(self) -> bool:
        try:
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                return self._try_lock(self._connection)
            self._connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            self.give_up()
            return False
        return True

    def _try_lock(self, connection: Connection) -> bool:
        taken = connection.execute(text(f"SELECT pg_try_advisory_lock({self._lock_number})")).scalar_one()
        if not taken:
            connection.close()
            self._connection = None
        return bool(taken)

    def _take_file(self) -> bool:
        path = Path(f"{self._engine.url.database}.{self._name}.lock")
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True
