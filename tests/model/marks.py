"""What makes a record recognisable wherever it turns up, whatever number it was given: its mark.

A raising or clearing carries a code that no other event of the model has, a report of health the number of its first
sample. Records that the agent makes of itself (losses, tombstones, its own faults) have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol import codec
from protocol.errors import Malformed
from protocol.records import FaultCleared, FaultRaised, HealthColumns, Record, RecordBody

CODE_PREFIX: Final = "model."
METRIC: Final = "model.mark"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    device: str
    kind: str
    text: str


def mark_of(device: str, body: RecordBody) -> Mark | None:
    match body:
        case FaultRaised() | FaultCleared() if body.code.startswith(CODE_PREFIX):
            return Mark(device, type(body).__name__, body.code)
        case HealthColumns():
            return mark_of_columns(device, body.columns)
        case _:
            return None


def mark_of_columns(device: str, columns: dict[str, list[float | int | str | None]]) -> Mark | None:
    named = [str(sample) for sample in columns.get(METRIC, []) if sample is not None]
    return Mark(device, "HealthColumns", named[0]) if named else None


def record_in(payload: bytes) -> Record:
    record = codec.from_json(payload, Record)
    assert not isinstance(record, Malformed), record
    return record
