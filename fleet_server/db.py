"""The only place that commits. One request, one job, one ingest flush: one transaction.

SQLite runs in WAL mode with ``synchronous=FULL``: an acknowledged record survives a power cut. Writers take the write
lock when they begin, so that two of them wait for each other instead of failing half-way. PostgreSQL is asked to wait
for its disk, or for what it is set to wait for beside it.

PostgreSQL locks rows, and every transaction that writes locks them in one order, so that two wait for each other
instead of ending in a deadlock: devices by one call of `fleet_server.devices.holding.hold`, in the order of their ids;
streams of links; what hangs on both (records, faults, health, all named by rows held before); executions in the order
of their ids; keys; the order of events; last of all, at the commit, the heads of the audit in the order of their
tenants (`fleet_server.audit.appending`). A step may be left out, none may be taken back. What may be skipped because
another process is at it is read with SKIP LOCKED.

Whatever is done for a caller keeps to one tenant: ``tenant`` of `transaction` and `reading`. On PostgreSQL such a
transaction runs in a role that owns nothing and sees the rows of that tenant only (`fleet_server.row_security`), so
that a query which forgot its tenant finds too little instead of too much. Without it a transaction sees all: that is
for services of the installation. A `Reach` may be narrower still: a technician sees what is assigned to him.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, event, text
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel import Session

from fleet_server.errors import DatabaseUnreachable
from fleet_server.kit.reach import Reach

_BUSY_TIMEOUT_MS = 15_000
# Execution option of connections: what they keep to, or a function that names it when the first query comes.
KEEPS_TO = "keeps_to"
TENANT_ROLE = "tillmedic_tenant"
TENANT_SETTING = "tillmedic.tenant"
ASSIGNEE_SETTING = "tillmedic.assignee"
Tenant = str | Reach | Callable[[], Reach]
_KEEP = (
    f"SELECT set_config('role', '{TENANT_ROLE}', true), set_config('{TENANT_SETTING}', %s, true), "
    f"set_config('{ASSIGNEE_SETTING}', %s, true)"
)
# Execution option of an engine: a function that names the engine to read from now.
READS_FROM = "reads_from"
# A name in pg_stat_activity: whoever brings a backup back need not wait for it.
READER_NAME = "tillmedic-reader"
# How long a reader waits for a table that somebody is replacing.
_READER_PATIENCE_MS = 400
_CONNECT_TIMEOUT_S = 5
# A connection that was used this recently is taken for alive; asking it each time is a round trip each transaction.
_ASKED_AFTER_S = 1.0
# What is deleted is overwritten: who was erased is not to be found in the file either.
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    f"busy_timeout={_BUSY_TIMEOUT_MS}",
)
_WAIT_FOR_DISK = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
_NAMES = {"names": ["fsync", "full_page_writes"]}


def open_engine(url: str) -> Engine:
    """An engine for ``sqlite:///PATH`` or ``postgresql+psycopg://…``. Its errors do not say which values were
    given, which may be about people: they come into logs.
    """
    if not url.startswith("sqlite"):
        options = {"connect_timeout": _CONNECT_TIMEOUT_S}
        engine = create_engine(url, pool_size=8, max_overflow=24, connect_args=options, hide_parameters=True)
        event.listen(engine, "connect", _wait_for_disk)
        event.listen(engine, "checkin", _note_idle)
        event.listen(engine, "checkout", partial(_ask_when_idle, engine.dialect))
        event.listen(engine, "begin", _keep_to_tenant)
        return engine
    waits: dict[str, Any] = {"check_same_thread": False, "timeout": _BUSY_TIMEOUT_MS / 1000}
    engine = create_engine(url, connect_args=waits, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def open_reader(url: URL) -> Engine:
    """An engine that can only read, keeps no connection, and gives up soon when it has to wait."""
    if url.get_backend_name() != "sqlite":
        settings = f"-c default_transaction_read_only=on -c lock_timeout={_READER_PATIENCE_MS}ms"
        options = {"application_name": READER_NAME, "options": settings, "connect_timeout": _CONNECT_TIMEOUT_S}
        reader = create_engine(url, poolclass=NullPool, connect_args=options, hide_parameters=True)
        event.listen(reader, "begin", _keep_to_tenant)
        return reader
    place = Path(url.database or "").resolve()
    engine = create_engine(
        f"sqlite:///file:{place}?mode=ro&uri=true",
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": _READER_PATIENCE_MS / 1000},
    )
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def reachable_database(url: str) -> Iterator[Engine]:
    """Raises ``DatabaseUnreachable`` in one sentence and without the password."""
    try:
        shown = make_url(url).render_as_string(hide_password=True)
        engine = open_engine(url)
    except (ArgumentError, NoSuchModuleError) as error:
        raise DatabaseUnreachable(
            f"database_url: expected sqlite:///PATH or postgresql+psycopg://…: {error}"
        ) from error
    try:
        try:
            engine.connect().close()
        except DBAPIError as error:
            said = str(error.orig).strip().splitlines()
            raise DatabaseUnreachable(f"the database {shown} cannot be opened: {' '.join(said)[:300]}") from error
        yield engine
    finally:
        engine.dispose()


@contextmanager
def transaction(engine: Engine, tenant: Tenant | None = None) -> Iterator[Session]:
    """A session that commits on success and rolls back on any error."""
    kept = engine if tenant is None else engine.execution_options(**{KEEPS_TO: tenant})
    with Session(kept, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine, tenant: Tenant | None = None) -> Iterator[Session]:
    """A session that only reads: on SQLite it takes no write lock. Nothing done in it is kept.

    An engine that says where to read (`fleet_server.databases`) is asked each time.
    """
    choose = engine.get_execution_options().get(READS_FROM)
    source: Engine = engine if choose is None else choose()
    options = {"reads_only": True} if tenant is None else {"reads_only": True, KEEPS_TO: tenant}
    with Session(source.execution_options(**options), expire_on_commit=False) as session:
        yield session


def _note_idle(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["idle_since_s"] = time.monotonic()


def _ask_when_idle(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """The server may have been restarted meanwhile: then all of the pool's connections are gone, and new ones made."""
    idle_since_s = record.info.get("idle_since_s")
    if idle_since_s is None or time.monotonic() - idle_since_s < _ASKED_AFTER_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def _wait_for_disk(connection: Any, _record: Any) -> None:
    """A database or role may be set not to wait: then what was acknowledged would be gone with the next power cut.
    Other settings (``local``, ``remote_apply``) are the operator's.
    """
    connection.execute(_WAIT_FOR_DISK)
    # Otherwise the first rollback would take it back.
    connection.commit()


def lax_settings(session: Session) -> list[str]:
    """Settings of the whole PostgreSQL by which it forgets, when the power goes, what it has committed."""
    if session.get_bind().dialect.name != "postgresql":
        return []
    found = session.execute(text("SELECT name FROM pg_settings WHERE name = ANY(:names) AND setting = 'off'"), _NAMES)
    return sorted(found.scalars())


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # sqlite3 must not begin transactions by itself
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _keep_to_tenant(connection: Any) -> None:
    """In one round trip, and for this transaction only."""
    reach = reach_of(connection)
    if reach is not None:
        connection.exec_driver_sql(_KEEP, (reach.tenant_id, reach.assignee or ""))


def reach_of(kept: Any) -> Reach | None:
    """How far a connection or an engine sees; None for those that see all."""
    named = kept.get_execution_options().get(KEEPS_TO)
    reach: Reach | str | None = named() if callable(named) else named
    return Reach(reach) if isinstance(reach, str) else reach


def tenant_of(connection: Any) -> str | None:
    """The tenant that a connection keeps to; None for those that see all."""
    reach = reach_of(connection)
    return None if reach is None else reach.tenant_id


def _begin_sqlite(connection: Any) -> None:
    # Asked here too: who has no tenant yet is refused on both databases.
    tenant_of(connection)
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
