"""What makes a record recognisable on both sides without its stream and number: its mark.

A record that was made for a run says in its own words which one it is. Any other (an agent's own samples, faults,
declarations) is named by a digest of its body; two of the same words have the same mark, and are counted.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from protocol import codec
from protocol.errors import Malformed
from protocol.records import FaultCleared, FaultRaised, HealthColumns, Record, RecordBody, Verdict

PREFIX: Final = "chaos."
METRIC: Final = "chaos.mark"
RAISED: Final = "raised:"
CLEARED: Final = "cleared:"
VERDICT: Final = "verdict:"
HEALTH: Final = "health:"
Columns = dict[str, list[float | int | str | None]]


def mark_of(body: RecordBody) -> str:
    match body:
        case FaultRaised() if body.code.startswith(PREFIX):
            return RAISED + body.code
        case FaultCleared() if body.code.startswith(PREFIX):
            return CLEARED + body.code
        case Verdict() if body.evidence.startswith(PREFIX):
            return VERDICT + body.evidence
        case HealthColumns():
            return mark_of_columns(body.columns)
        case _:
            return _digest(codec.to_json(body))


def mark_of_columns(columns: Columns) -> str:
    """The server keeps numbers as numbers: a whole one may come back as a float."""
    named = [sample for sample in columns.get(METRIC, []) if isinstance(sample, float | int)]
    if named:
        return f"{HEALTH}{named[0]:.0f}"
    alike = {name: [float(one) if isinstance(one, int) else one for one in column] for name, column in columns.items()}
    return _digest(msgspec.json.encode(alike, order="sorted"))


def mark_of_payload(payload: bytes) -> str:
    """Of a record as the spool holds it."""
    record = codec.from_json(payload, Record)
    if isinstance(record, Malformed):
        raise TypeError(f"expected a record from our own agent, came {record.detail}")
    return mark_of(record.body)


def _digest(text: bytes) -> str:
    return "~" + hashlib.sha256(text).hexdigest()[:24]
