"""The floor of `tests.benchmarks.flush_cost`: what the reports of one check need at the very least.

One batch decoded, one transaction of hand-written statements: read and move the stream's row, three records, read and
move the execution, three events. No signature, no redaction, no presence.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

import psycopg

from protocol import codec
from protocol.records import ExecutionReport, Record, Verdict
from protocol.streams import Batch

_TABLES = (
    "CREATE TABLE bare_stream (link TEXT, stream TEXT, upto BIGINT, PRIMARY KEY (link, stream))",
    "CREATE TABLE bare_record (link TEXT, stream TEXT, seq BIGINT, body TEXT, PRIMARY KEY (link, stream, seq))",
    "CREATE TABLE bare_execution (id TEXT PRIMARY KEY, state TEXT)",
    "CREATE TABLE bare_event (id INTEGER PRIMARY KEY, device TEXT, execution TEXT, data TEXT)",
    "CREATE INDEX bare_event_execution ON bare_event (execution, id)",
)
_READ_STREAM = "SELECT upto FROM bare_stream WHERE link = ? AND stream = ?"
_MOVE_STREAM = "INSERT INTO bare_stream VALUES (?, ?, ?) ON CONFLICT (link, stream) DO UPDATE SET upto = excluded.upto"
_RECORD = "INSERT INTO bare_record VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_READ_EXECUTION = "SELECT state FROM bare_execution WHERE id = ?"
_MOVE_EXECUTION = "INSERT INTO bare_execution VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"
_EVENT = "INSERT INTO bare_event (device, execution, data) VALUES (?, ?, ?)"

Rows = tuple[tuple[str, str], str, list[tuple[str, str, int, str]], list[tuple[str, str, str]]]


def rows_of(payload: bytes) -> Rows:
    """Key of the stream, execution, records, events."""
    batch = codec.decode(payload, None, Batch)
    if not isinstance(batch, Batch):
        raise TypeError(f"expected a batch, came {batch}")
    records, events, execution, device = [], [], "", ""
    for place, raw in enumerate(batch.records):
        record = codec.from_json(raw, Record)
        if not isinstance(record, Record) or not isinstance(record.body, ExecutionReport | Verdict):
            raise TypeError(f"expected a report or a verdict, came {record}")
        device, execution = record.device, str(record.body.execution)
        body = codec.to_json(record.body).decode()
        records.append((device, str(batch.stream), batch.first_seq + place, body))
        events.append((device, execution, json.dumps({"execution": execution, "state": "x", "progress_pct": None})))
    return (device, str(batch.stream)), execution, records, events


def bare_sqlite(database: sqlite3.Connection) -> Callable[[bytes], object]:
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", *_TABLES):
        database.execute(statement)

    def store(payload: bytes) -> None:
        stream, execution, records, events = rows_of(payload)
        database.execute("BEGIN IMMEDIATE")
        database.execute(_READ_STREAM, stream).fetchone()
        database.executemany(_RECORD, records)
        database.execute(_READ_EXECUTION, (execution,)).fetchone()
        database.execute(_MOVE_EXECUTION, (execution, "SUCCEEDED"))
        database.execute(_MOVE_STREAM, (*stream, records[-1][2]))
        database.executemany(_EVENT, events)
        database.execute("COMMIT")

    return store


def bare_postgres(database: psycopg.Connection) -> Callable[[bytes], object]:
    for statement in _TABLES:
        database.execute(statement.replace("id INTEGER PRIMARY KEY", "id BIGSERIAL PRIMARY KEY").encode())
    database.commit()
    asked = {text: text.replace("?", "%s").encode() for text in (_READ_STREAM, _MOVE_STREAM, _RECORD, _EVENT)}
    asked |= {text: text.replace("?", "%s").encode() for text in (_READ_EXECUTION, _MOVE_EXECUTION)}

    def store(payload: bytes) -> None:
        stream, execution, records, events = rows_of(payload)
        with database.cursor() as cursor:
            cursor.execute(asked[_READ_STREAM], stream).fetchone()
            cursor.executemany(asked[_RECORD], records)
            cursor.execute(asked[_READ_EXECUTION], (execution,)).fetchone()
            cursor.execute(asked[_MOVE_EXECUTION], (execution, "SUCCEEDED"))
            cursor.execute(asked[_MOVE_STREAM], (*stream, records[-1][2]))
            cursor.executemany(asked[_EVENT], events)
        database.commit()

    return store
