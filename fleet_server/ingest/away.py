"""Whether a database that refused a flush may take it later."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from fleet_server.ingest.installation import NotPrimary

# SQLSTATE read_only_sql_transaction.
_READ_ONLY = "25006"


class DatabaseAway(Exception):
    """The database cannot take anything now."""

    code = "database_away"


def is_away(error: Exception) -> bool:
    """Whether the same may succeed later: lost connections, full disks, locks, deadlocks, a standby to be promoted, a
    database that somebody has made to be read only.
    """
    return isinstance(error, OperationalError | InterfaceError | NotPrimary) or (
        isinstance(error, DBAPIError)
        and (error.connection_invalidated or getattr(error.orig, "sqlstate", None) == _READ_ONLY)
    )
