"""The audit as a file: JSON lines, which can be verified without the database, and CSV for people.

A line of JSON has everything that the hash covers, and its hashes. What was kept beside a row (``salt``, ``document``)
is in it only for those who may see it; without it the row is verified all the same. ``name`` is who is meant by a
person's reference now, and no part of the chain.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from fleet_server.audit.chain import ChainRow
from fleet_server.audit.checking import Source
from fleet_server.audit.errors import ExportUnreadable
from fleet_server.audit.subjects import shown
from fleet_server.kit.times import from_us
from protocol.codec import UNREADABLE
from protocol.shown_text import cell, one_line

_CHUNK: Final = 1 << 16
_MAX_LINE: Final = 1 << 20
_COLUMNS = ("seq", "at", "who", "action", "target", "data", "personal", "row_hash")


class AuditFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"

    @property
    def media_type(self) -> str:
        return "text/csv; charset=utf-8" if self is AuditFormat.CSV else "application/jsonl; charset=utf-8"


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tenant: str
    seq: int
    at_us: int
    at: str  # the same in RFC 3339, for people
    actor: str
    action: str
    target: str
    data: dict[str, Any]
    aside: str
    prev_hash: str
    row_hash: str
    salt: str = ""
    document: dict[str, Any] | None = None
    name: str = ""


def written(rows: Iterable[tuple[ChainRow, Mapping[str, str]]], wanted: AuditFormat) -> Iterator[bytes]:
    """The file, chunk by chunk. Each row comes with the names of the people it is about."""
    lines = _csv_lines(rows) if wanted is AuditFormat.CSV else (_json_line(*one) for one in rows)
    gathered, size = [], 0
    for line in lines:
        gathered.append(line)
        size += len(line)
        if size >= _CHUNK:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


def read_rows(path: Path) -> Source:
    """Rows of a file of JSON lines as they stand in it. Raises ``ExportUnreadable``."""

    def rows(behind: int) -> Iterator[ChainRow]:
        has_begun = behind == 0
        for row in _parsed(path):
            if has_begun or row.seq > behind:
                yield row
            has_begun = has_begun or row.seq >= behind

    return rows


def first_row(path: Path) -> ChainRow | None:
    return next(_parsed(path), None)


def _parsed(path: Path) -> Iterator[ChainRow]:
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(_MAX_LINE + 1):
                number += 1
                if len(line) > _MAX_LINE:
                    raise ExportUnreadable(f"{path}, line {number}: expected at most {_MAX_LINE} bytes")
                yield parse_line(line)
    except (OSError, *UNREADABLE) as error:
        raise ExportUnreadable(f"{path}, line {number}: expected an entry of an audit export: {error}") from error


def parse_line(text: bytes) -> ChainRow:
    """Raises one of ``UNREADABLE``."""
    line = msgspec.json.decode(text, type=Line)
    return ChainRow(
        tenant_id=line.tenant,
        seq=line.seq,
        at_us=line.at_us,
        actor=line.actor,
        action=line.action,
        target=line.target,
        data=line.data,
        aside=line.aside,
        prev_hash=line.prev_hash,
        row_hash=line.row_hash,
        salt=line.salt,
        document=line.document,
    )


def _json_line(row: ChainRow, names: Mapping[str, str]) -> bytes:
    line = Line(
        tenant=row.tenant_id,
        seq=row.seq,
        at_us=row.at_us,
        at=from_us(row.at_us).isoformat(timespec="microseconds"),
        actor=row.actor,
        action=row.action,
        target=row.target,
        data=dict(row.data),
        aside=row.aside,
        prev_hash=row.prev_hash,
        row_hash=row.row_hash,
        salt=row.salt,
        document=None if row.document is None else dict(row.document),
        name=names.get(row.actor, ""),
    )
    # JSON leaves in what other readers take for an end of a line.
    return one_line(msgspec.json.encode(line).decode()).encode() + b"\n"


def _csv_lines(rows: Iterable[tuple[ChainRow, Mapping[str, str]]]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(_COLUMNS)
    for row, names in rows:
        texts = (shown(row.actor, names), row.action, shown(row.target, names), _json(row.data), _json(row.document))
        at = from_us(row.at_us).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        writer.writerow((row.seq, at, *map(cell, texts), row.row_hash))
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


def _json(document: Mapping[str, Any] | None) -> str:
    return msgspec.json.encode(document).decode() if document else ""
