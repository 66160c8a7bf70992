"""Asks a database whether it is there, by a connection of its own that no pool and no refusal stands before."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

# libpq takes no shorter one.
_LEAST_CONNECT_TIMEOUT_S: Final = 2
# SQLite answers what needs no table without having looked at its file.
_QUESTIONS: Final = {"sqlite": "SELECT count(*) FROM sqlite_master", "postgresql": "SELECT 1"}


def hang_up(engine: Engine, connection: Any) -> None:
    """Ends the waiting on a driver's connection to a server; one to a file has nothing to wait for."""
    number = getattr(connection, "fileno", None)
    if number is not None:
        # One that was closed meanwhile has no number any more.
        with suppress(OSError, engine.dialect.loaded_dbapi.Error), socket.socket(fileno=os.dup(number())) as wire:
            wire.shutdown(socket.SHUT_RDWR)


class Probe:
    """``silent_s``: how long whoever asks waits; a connection that nobody can cut yet is given up before that."""

    def __init__(self, engine: Engine, silent_s: float) -> None:
        self._engine = engine
        self._connect_timeout_s = max(_LEAST_CONNECT_TIMEOUT_S, int(silent_s) - 1)
        self._connection: Any = None

    def answers(self) -> bool:
        """May take as long as the database is silent. The connection is kept while it is good."""
        driver = self._engine.dialect.loaded_dbapi
        try:
            if self._connection is None:
                self._connection = self._connect()
            cursor = self._connection.cursor()
            cursor.execute(_QUESTIONS[self._engine.dialect.name])
            cursor.close()
            self._connection.rollback()
        except (driver.Error, OSError):
            self.close()
            return False
        return True

    def cut(self) -> None:
        """From another thread: an answer that is waited for will not come."""
        if self._connection is not None:
            hang_up(self._engine, self._connection)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(self._engine.dialect.loaded_dbapi.Error):
                connection.close()

    @staticmethod
    def followed_until(standby: Engine) -> datetime | None:
        """The moment of the last transaction that a standby of PostgreSQL has; None when it cannot be told."""
        if standby.dialect.name != "postgresql":
            return None
        try:
            with standby.connect() as connection:
                found: datetime | None = connection.exec_driver_sql("SELECT pg_last_xact_replay_timestamp()").scalar()
        except SQLAlchemyError:
            return None
        return found

    def _connect(self) -> Any:
        dialect, url = self._engine.dialect, self._engine.url
        if dialect.name == "sqlite":
            # Opening it by its name would make a file that is missing.
            place = Path(url.database or "").resolve()
            return dialect.loaded_dbapi.connect(f"{place.as_uri()}?mode=ro", uri=True, check_same_thread=False)
        arguments, options = dialect.create_connect_args(url)
        return dialect.connect(*arguments, **{"connect_timeout": self._connect_timeout_s, **options})
