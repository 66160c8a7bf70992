"""An export as CSV or Parquet, written as it is read.

CSV: RFC 4180 with a header, UTF-8; moments in RFC 3339; a text that a spreadsheet would take for a formula begins with
an apostrophe (OWASP, "CSV injection"). Parquet: zstd, a row group for some ten thousand rows; needs `pyarrow`, which
comes with the extra ``export``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from fleet_server.errors import FleetError
from fleet_server.health.export import Piece
from fleet_server.health.number_columns import plain
from protocol.shown_text import cell

_KEYS = ("device", "serial_number", "metric", "at")
_SAMPLES = ("value", "text")
_BUCKETS = ("mean", "low", "high", "count")
_GROUP_ROWS: Final = 50_000
_CHUNK: Final = 1 << 16


class Format(StrEnum):
    CSV = "csv"
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        return "text/csv; charset=utf-8" if self is Format.CSV else "application/vnd.apache.parquet"


class ParquetNotInstalled(FleetError):
    code = "parquet_not_installed"
    status = 501

    def __init__(self) -> None:
        super().__init__("Parquet needs pyarrow: install the extra 'export', or ask for csv")


def check_format(wanted: Format) -> None:
    """Raises ``ParquetNotInstalled`` before anything is begun."""
    if wanted is Format.PARQUET and find_spec("pyarrow") is None:
        raise ParquetNotInstalled


def written(pieces: Iterable[Piece], wanted: Format, *, is_rollup: bool) -> Iterator[bytes]:
    """The file, chunk by chunk."""
    if wanted is Format.CSV:
        return _as_csv(pieces, is_rollup=is_rollup)
    return _as_parquet(pieces, is_rollup=is_rollup)


def _as_csv(pieces: Iterable[Piece], *, is_rollup: bool) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow((*_KEYS, *(_BUCKETS if is_rollup else _SAMPLES)))
    for piece in pieces:
        writer.writerows(_csv_rows(piece))
        if buffer.tell() >= _CHUNK:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _csv_rows(piece: Piece) -> Iterator[tuple[object, ...]]:
    device, number = cell(piece.device_id), cell(piece.serial_number)
    moments = np.datetime_as_string(piece.at_ms.astype("datetime64[ms]"), timezone="UTC").tolist()
    keys = zip(piece.metrics, moments, piece.values.tolist(), strict=True)
    if piece.buckets is not None:
        extents = zip(
            piece.buckets.low.tolist(), piece.buckets.high.tolist(), piece.buckets.count.tolist(), strict=True
        )
        for (metric, at, mean), (low, high, count) in zip(keys, extents, strict=True):
            yield device, number, metric, at, mean, plain(low), plain(high), int(count)
        return
    texts = piece.texts or [None] * len(piece)
    for (metric, at, value), text in zip(keys, texts, strict=True):
        yield device, number, metric, at, "" if text is not None else plain(value), cell(text or "")


def _as_parquet(pieces: Iterable[Piece], *, is_rollup: bool) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(pa, is_rollup=is_rollup)
    sink = _Drained()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        gathered: list[Any] = []
        rows = 0
        for piece in pieces:
            gathered.append(pa.table(_arrays(pa, piece), schema=schema))
            rows += len(piece)
            if rows >= _GROUP_ROWS:
                writer.write_table(pa.concat_tables(gathered))
                gathered, rows = [], 0
                yield sink.drain()
        if gathered:
            writer.write_table(pa.concat_tables(gathered))
    yield sink.drain()


def _schema(pa: Any, *, is_rollup: bool) -> Any:
    words = pa.dictionary(pa.int32(), pa.string())
    keys = [("device", words), ("serial_number", words), ("metric", words), ("at", pa.timestamp("ms", tz="UTC"))]
    if is_rollup:
        number = pa.float64()
        return pa.schema([*keys, ("mean", number), ("low", number), ("high", number), ("count", pa.int64())])
    return pa.schema([*keys, ("value", pa.float64()), ("text", pa.string())])


def _arrays(pa: Any, piece: Piece) -> list[Any]:
    words = pa.dictionary(pa.int32(), pa.string())
    columns = ([piece.device_id] * len(piece), [piece.serial_number] * len(piece), piece.metrics)
    keys = [pa.array(column, words) for column in columns]
    keys.append(pa.array(piece.at_ms, pa.timestamp("ms", tz="UTC")))
    if piece.buckets is not None:
        counts = piece.buckets.count.astype(np.int64)
        return [*keys, *map(pa.array, (piece.values, piece.buckets.low, piece.buckets.high, counts))]
    texts = pa.array(piece.texts, pa.string()) if piece.texts is not None else pa.nulls(len(piece), pa.string())
    return [*keys, pa.array(piece.values, from_pandas=True), texts]


class _Drained(io.RawIOBase):
    """What the writer has written and nobody has taken yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._place = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._place += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._place

    def drain(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken
