"""The tables of the spool. A change here needs a new file name or a way to read the old one."""

from __future__ import annotations

from typing import Final

PAGE_BYTES: Final = 4096
# A commit touches about six pages and waits for one sync; a checkpoint waits for several. It is done in quiet moments
# (`Spool.tidy`), and in the midst of work only when the log has grown to this.
CHECKPOINT_PAGES: Final = 500

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS stream (
    kind TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    last INTEGER NOT NULL DEFAULT 0,
    acked INTEGER NOT NULL DEFAULT 0,
    shed INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (stream, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
    place INTEGER PRIMARY KEY,
    execution TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS fact (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
"""
