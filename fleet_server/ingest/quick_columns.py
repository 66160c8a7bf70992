"""Records of samples that are numbers alone, as nearly all are, read without an object for each number.

`read` answers None for whatever is not exactly that: then the typed decoder looks, and says what is wrong. Invariant:
where it answers, the typed decoder would have answered the same record, number by number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec
import numpy as np
import simdjson
from msgspec import Meta

from fleet_server.health.number_columns import NumberColumns
from fleet_server.health.packing import Floats
from protocol.codec import UNREADABLE
from protocol.identifiers import WireDevice, WireHex128, WireMetric, WireMillis
from protocol.records import MAX_COLUMNS, HealthColumns, Record, WireStepMs, WireSteps

_Names = Annotated[dict[WireMetric, int], Meta(max_length=MAX_COLUMNS)]


class _Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="health_columns"):
    start_ms: WireMillis
    step_ms: WireStepMs
    steps: WireSteps
    columns: msgspec.Raw


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As `protocol.records.Record`, without what only a record saved from a damaged spool has."""

    device: WireDevice
    boot: WireHex128
    mono_ms: WireMillis
    wall_ms: WireMillis
    body: _Columns


_decoder = msgspec.json.Decoder(_Record)


def read(raw: bytes) -> tuple[Record, Floats] | None:
    """The record, its columns a `NumberColumns`, and all its samples column by column."""
    try:
        quick = _decoder.decode(raw)
    except UNREADABLE:
        return None
    body = quick.body
    found = _numbers(bytes(body.columns), body.steps)
    if found is None:
        return None
    columns = NumberColumns(*found, body.steps)
    whole = HealthColumns(body.start_ms, body.step_ms, body.steps, columns)  # type: ignore[arg-type]  # reads like a dict of lists
    return Record(quick.device, quick.boot, quick.mono_ms, quick.wall_ms, whole), columns.numbers


def _numbers(columns: bytes, steps: int) -> tuple[tuple[str, ...], Floats] | None:
    try:
        # One parser for all would refuse to go on while anything of its last document is held.
        document = simdjson.Parser().parse(columns)
        if not isinstance(document, simdjson.Object):
            return None
        names = tuple(document.keys())
        # An array in an array would be read as its numbers, a name that comes twice as its first column.
        if columns.count(b"[") != len(names) or not _are_metrics(names):
            return None
        arrays = [one for name in names if isinstance(one := document[name], simdjson.Array)]
        if len(arrays) != len(names) or set(map(len, arrays)) != {steps}:
            return None
        data = b"".join([array.as_buffer(of_type="d") for array in arrays])
    except (ValueError, TypeError, RuntimeError):
        # Not JSON, something that is no number, a whole number of more than 64 bits.
        return None
    return names, np.frombuffer(data)


@lru_cache(maxsize=1024)
def _are_metrics(names: tuple[str, ...]) -> bool:
    """Names that columns may have, none twice. Devices of a model all send the same."""
    try:
        msgspec.convert(dict.fromkeys(names, 0), _Names)
    except msgspec.ValidationError:
        return False
    return 0 < len(names) == len(set(names))
