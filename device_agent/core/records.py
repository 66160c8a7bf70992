"""Records on their way to the spool: each with its stream, its shed rank and its bytes, collected into one commit.

Invariant: whatever one event causes (records, journal rows, facts) is one `Changes` and so one transaction. Free
text is scrubbed of card data here, before it becomes bytes; nothing else makes records.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from device_agent.core.instant import Instant
from protocol import codec
from protocol.identifiers import DeviceId
from protocol.records import (
    MAX_EVIDENCE_CHARS,
    MAX_OUTPUT_CHARS,
    MAX_SAMPLE_CHARS,
    ExecutionReport,
    FaultCleared,
    FaultRaised,
    HealthColumns,
    Record,
    RecordBody,
    Sample,
    SecurityEvent,
    SpoolLost,
    Tombstone,
    Verdict,
)
from protocol.redaction import IdentifierField, is_card_value, pass_identifier, scrub
from protocol.streams import StreamKind

# A record must fit a batch with room for the batch's own fields; columns are split to keep under it.
MAX_RECORD_BYTES: Final = 48 * 1024
# Shed ranks, lowest first. Live samples and progress notes (rank 0) are never spooled at all.
RANK_HEALTH: Final = 1
RANK_RESULT: Final = 2
RANK_DECLARATION: Final = 9  # tombstones and losses: without them a gap would stay open for ever
_SHORTEST_CARD_TEXT: Final = 8
# The only texts that leave unlooked-at: digits, as many as a card number has, that must stay readable.
_IDENTIFIERS: Final = {"modem.imei": IdentifierField.IMEI, "modem.iccid": IdentifierField.ICCID}


@dataclass(frozen=True, slots=True)
class NewRecord:
    stream: StreamKind
    rank: int
    payload: bytes


@dataclass(slots=True)
class Changes:
    """What the next commit writes. ``hold_until_ns`` lets a class 0 check put intent and result into one commit."""

    records: list[NewRecord] = field(default_factory=list)
    journal: dict[str, bytes | None] = field(default_factory=dict)  # None removes the row
    facts: dict[str, str | None] = field(default_factory=dict)  # None removes the fact
    hold_until_ns: int | None = None
    is_due: bool = False

    def __bool__(self) -> bool:
        return bool(self.records or self.journal or self.facts)

    def is_held(self, now_ns: int) -> bool:
        return not self.is_due and self.hold_until_ns is not None and now_ns < self.hold_until_ns

    def hold(self, until_ns: int) -> None:
        """What has been added so far may wait this long for company."""
        if self.hold_until_ns is None:
            self.hold_until_ns = until_ns


@dataclass(slots=True)
class RecordMaker:
    """Bodies to records of one boot. ``oversized`` counts what no shortening could make fit."""

    boot: str
    oversized: int = 0
    scrub_hits: int = 0

    def record(self, device: DeviceId, body: RecordBody, now: Instant) -> Record:
        return Record(device, self.boot, now.mono_ms, now.wall_ms, self._scrubbed(body))

    def spooled(self, device: DeviceId, body: RecordBody, now: Instant) -> list[NewRecord]:
        """One record, or several when columns are too many for one, or none (counted) when it cannot be made to fit."""
        payload = codec.to_json(self.record(device, body, now))
        if len(payload) <= MAX_RECORD_BYTES:
            return [NewRecord(stream_of(body), rank_of(body), payload)]
        if isinstance(body, HealthColumns) and len(body.columns) > 1:
            names = list(body.columns)
            half = len(names) // 2
            return [
                one
                for part in (names[:half], names[half:])
                for one in self.spooled(
                    device,
                    msgspec.structs.replace(body, columns={name: body.columns[name] for name in part}),
                    now,
                )
            ]
        self.oversized += 1
        return []

    def _scrubbed(self, body: RecordBody) -> RecordBody:
        match body:
            case FaultRaised() | FaultCleared():
                return msgspec.structs.replace(body, evidence=self.clean(body.evidence))
            case Verdict():
                return msgspec.structs.replace(
                    body,
                    evidence=self.clean(body.evidence),
                    item=self.clean(body.item, 160),
                    unit=self.clean(body.unit, 160),
                    value=self._clean_sample(body.value),
                )
            case ExecutionReport():
                return msgspec.structs.replace(
                    body,
                    step=self.clean(body.step, 160),
                    detail=self.clean(body.detail),
                    output_tail=self.clean(body.output_tail, MAX_OUTPUT_CHARS, tail=True),
                )
            case SecurityEvent():
                return msgspec.structs.replace(body, detail=self.clean(body.detail))
            case HealthColumns():
                columns = {
                    name: [self._clean_sample(sample, _IDENTIFIERS.get(name)) for sample in column]
                    for name, column in body.columns.items()
                }
                return msgspec.structs.replace(body, columns=columns)
            case Tombstone():
                return msgspec.structs.replace(body, reason=self.clean(body.reason, 160))
            case SpoolLost():
                return body

    def _clean_sample(self, sample: Sample, identifier: IdentifierField | None = None) -> Sample:
        """A number that may be a card's is not measured: no metric counts that far by chance.

        What a driver asked its device for by name stays as it is when it has exactly that identifier's shape.
        """
        if isinstance(sample, str):
            if identifier is not None and pass_identifier(identifier, sample) == sample:
                return sample
            return self.clean(sample, MAX_SAMPLE_CHARS) if len(sample) >= _SHORTEST_CARD_TEXT else sample
        if sample is None or not is_card_value(sample):
            return sample
        self.scrub_hits += 1
        return None

    def clean(self, text: str, limit: int = MAX_EVIDENCE_CHARS, *, tail: bool = False) -> str:
        """``text`` without card data, cut to ``limit`` characters (its end when ``tail``)."""
        if not text:
            return text
        result = scrub(text)
        self.scrub_hits += len(result.hits)
        return result.text[-limit:] if tail else result.text[:limit]


def stream_of(body: RecordBody) -> StreamKind:
    return StreamKind.BULK if isinstance(body, HealthColumns) else StreamKind.URGENT


def rank_of(body: RecordBody) -> int:
    return RANK_HEALTH if isinstance(body, HealthColumns) else RANK_RESULT
