"""The only place that commits. One request, one job, one ingest flush: one transaction.

SQLite runs in WAL mode with ``synchronous=FULL``: an acknowledged record survives a power cut. Writers take the write
lock when they begin, so that two of them wait for each other instead of failing half-way.

PostgreSQL locks rows, and every transaction that writes locks them in one order, so that two wait for each other
instead of ending in a deadlock: devices by one call of `fleet_server.devices.holding.hold`, in the order of their ids;
streams of links; what hangs on both (records, faults, health, all named by rows held before); executions in the order
of their ids; keys and the audit; last the order of events. A step may be left out, none may be taken back. What may be
skipped because another process is at it is read with SKIP LOCKED.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlmodel import Session

from fleet_server.errors import DatabaseUnreachable

_BUSY_TIMEOUT_MS = 15_000
# Any constant: every process that numbers events takes the same PostgreSQL advisory lock.
_EVENT_ORDER_LOCK = 7_451_001


def open_engine(url: str) -> Engine:
    """An engine for ``sqlite:///PATH`` or ``postgresql+psycopg://…``."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=24)
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
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
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that commits on success and rolls back on any error."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that only reads: on SQLite it takes no write lock. Nothing done in it is kept."""
    with Session(engine.execution_options(reads_only=True), expire_on_commit=False) as session:
        yield session


def order_events(session: Session) -> None:
    """Makes ids of the event table ascend in commit order: event streams read by ``id > last``.

    SQLite has one writer anyway; on PostgreSQL the transaction holds an advisory lock from here to its commit, so call
    it last, right before inserting events.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT pg_advisory_xact_lock({_EVENT_ORDER_LOCK})"))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # sqlite3 must not begin transactions by itself
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_TIMEOUT_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
