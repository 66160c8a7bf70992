"""The floor of `tests.benchmarks.ingest_rate`: the least that makes a message durable on each database.

SQLite: one executemany a batch. PostgreSQL: a binary COPY into a temporary table, moved on with ON CONFLICT, which is
the fastest way in that still takes a message twice without harm.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

Row = tuple[str, str, int, int, bytes]
Store = Callable[[Sequence[Row]], None]
_COLUMNS = "link TEXT, stream TEXT, seq BIGINT, at BIGINT, body {bytes}"
_TYPES = ("text", "text", "int8", "int8", "bytea")


@contextmanager
def bare_sqlite(folder: Path) -> Iterator[Store]:
    database = sqlite3.connect(folder / "floor.db", check_same_thread=False, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("DROP TABLE IF EXISTS block")
    database.execute(f"CREATE TABLE block ({_COLUMNS.format(bytes='BLOB')}, UNIQUE(link, stream, seq))")

    def store(rows: Sequence[Row]) -> None:
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT OR IGNORE INTO block VALUES (?, ?, ?, ?, ?)", rows)
        database.execute("COMMIT")

    try:
        yield store
    finally:
        database.close()


@contextmanager
def bare_postgres(url: str) -> Iterator[Store]:
    with psycopg.connect(url.replace("+psycopg", "")) as database:
        columns = _COLUMNS.format(bytes="BYTEA")
        database.execute(b"DROP TABLE IF EXISTS block")
        database.execute(f"CREATE TABLE block ({columns}, UNIQUE(link, stream, seq))".encode())
        database.execute(f"CREATE TEMPORARY TABLE arriving ({columns}) ON COMMIT DELETE ROWS".encode())
        database.commit()

        def store(rows: Sequence[Row]) -> None:
            with database.cursor() as cursor:
                with cursor.copy("COPY arriving FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(_TYPES)
                    for row in rows:
                        copy.write_row(row)
                cursor.execute("INSERT INTO block SELECT * FROM arriving ON CONFLICT DO NOTHING")
            database.commit()

        yield store
