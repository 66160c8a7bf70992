"""What one flush has to do for one tenant, gathered from many messages before anything is written.

Here a record is placed in time by our clock: by its monotonic time and what the link's last hello said about it, so
that a device whose wall clock is wrong, or was set in between, still has a true timeline.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, assert_never

from fleet_server.executions.reports import DeviceReport
from fleet_server.faults.apply import FaultReport
from fleet_server.health.apply import HealthReport
from fleet_server.ingest import letters
from fleet_server.ingest.decode import DeadMessage, Entry, record_kind
from fleet_server.ingest.directory import KnownLink
from fleet_server.kit.times import from_ms
from fleet_server.timeline.writer import NewEvent
from protocol import codec
from protocol.errors import Malformed
from protocol.records import (
    ExecutionReport,
    FaultCleared,
    FaultRaised,
    HealthColumns,
    Record,
    SecurityEvent,
    SpoolLost,
    Tombstone,
    Verdict,
)
from protocol.redaction import scrub

# Of each link and flush this many dead letters are kept as rows; all are counted.
MAX_DEAD_PER_LINK = 20
# And so many bytes: to take card data out of a hostile megabyte takes a second.
MAX_DEAD_BYTES_PER_LINK = 512 * 1024
CARD_DATA_FOUND = "agent.CARD_DATA_FOUND"


@dataclass(slots=True)
class TenantWork:
    faults: list[FaultReport] = field(default_factory=list)
    health: list[HealthReport] = field(default_factory=list)
    reports: list[DeviceReport] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    dead: list[dict[str, Any]] = field(default_factory=list)
    tombstones: list[tuple[str, Tombstone, datetime]] = field(default_factory=list)
    losses: list[tuple[str, SpoolLost, datetime]] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)
    heard: dict[str, datetime | None] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)


class Sorter:
    """Sorts new entries into the work of their tenant. ``counters`` tells what was taken and what was refused."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._dead_of_link: Counter[str] = Counter()
        self._dead_bytes_of_link: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self.work: defaultdict[str, TenantWork] = defaultdict(TenantWork)

    def take(self, link: KnownLink, stream: str, entry: Entry) -> None:
        record = entry.record
        if isinstance(record, Malformed):
            self._bury_entry(link, stream, entry, record)
            return
        terminal_class = link.devices.get(record.device)
        if terminal_class is None:
            self._bury_entry(link, stream, entry, Malformed("foreign_device", "not a device of this link"))
            return
        work = self.work[link.tenant_id]
        work.heard.setdefault(record.device, None)
        at = placed_at(link, record, self._now)
        if entry.hits:
            self.counters["card_data"] += entry.hits
            data = {"code": CARD_DATA_FOUND, "detail": f"{entry.hits} removed from a {record_kind(record.body)}"}
            work.events.append(NewEvent(record.device, "security", at, data))
        self.counters["records"] += 1
        if isinstance(record.body, HealthColumns):
            start_at = _before(at, record.wall_ms, record.body.start_ms)
            work.health.append(
                HealthReport(
                    record.device, terminal_class, link.id, stream, entry.seq, start_at, record.body, entry.numbers
                )
            )
            return
        work.records.append(self._row(link, stream, entry.seq, record))
        self._effect(work, link, record, at)

    def _effect(self, work: TenantWork, link: KnownLink, record: Record, at: datetime) -> None:
        body = record.body
        match body:
            case FaultRaised():
                work.faults.append(
                    FaultReport(record.device, body, _before(at, record.wall_ms, body.first_seen_ms), at)
                )
            case FaultCleared():
                cleared_at = _before(at, record.wall_ms, body.cleared_ms)
                first_at = _before(at, record.wall_ms, body.raised_ms)
                work.faults.append(FaultReport(record.device, body, first_at, cleared_at))
            case Verdict() | ExecutionReport():
                work.reports.append(DeviceReport(record.device, link.id, body, at))
            case SecurityEvent():
                data = {"code": body.code, "detail": body.detail, "count": body.count}
                work.events.append(NewEvent(record.device, "security", at, data))
            case Tombstone():
                work.tombstones.append((link.id, body, at))
            case SpoolLost():
                work.losses.append((link.id, body, at))
            case HealthColumns():
                raise AssertionError("health has its own way")
            case _:
                assert_never(body)

    def bury(self, link: KnownLink, message: DeadMessage) -> None:
        """Keeps what could not be understood, so that somebody can look."""
        self._bury(link, message.topic_kind, None, None, message.why, message.payload, message.content_type)

    def _bury_entry(self, link: KnownLink, stream: str, entry: Entry, why: Malformed) -> None:
        """Its number is passed over with the rest of its batch."""
        self._bury(link, "record", stream, entry.seq, why, entry.raw, "")

    def _bury(
        self,
        link: KnownLink,
        topic_kind: str,
        stream: str | None,
        seq: int | None,
        why: Malformed,
        payload: bytes,
        content_type: str,
    ) -> None:
        self.counters["dead"] += 1
        self.counters[f"dead.{why.code}"] += 1
        self._dead_of_link[link.id] += 1
        self._dead_bytes_of_link[link.id] += min(len(payload), letters.MAX_BYTES)
        if (
            self._dead_of_link[link.id] > MAX_DEAD_PER_LINK
            or self._dead_bytes_of_link[link.id] > MAX_DEAD_BYTES_PER_LINK
        ):
            self.counters["dead_not_kept"] += 1
            return
        payload = self._harmless(link, payload, content_type)
        self.work[link.tenant_id].dead.append(
            {
                "tenant_id": link.tenant_id,
                "link_id": link.id,
                "topic_kind": topic_kind,
                "stream": stream,
                "seq": seq,
                "reason": why.code[:40],
                "detail": _printable(scrub(why.detail).text)[:240],
                "content_type": _printable(scrub(content_type).text)[:60],
                "payload": payload,
                "received_at": self._now,
            }
        )

    def _harmless(self, link: KnownLink, payload: bytes, content_type: str) -> bytes:
        kept, hits = letters.harmless(payload, content_type)
        if kept == letters.NOT_SCRUBBED:
            self.counters["dead_not_scrubbed"] += 1
        if hits:
            self.counters["card_data"] += hits
            data = {"code": CARD_DATA_FOUND, "detail": f"{hits} removed from a dead letter"}
            self.work[link.tenant_id].events.append(NewEvent(link.id, "security", self._now, data))
        return kept

    def _row(self, link: KnownLink, stream: str, seq: int, record: Record) -> dict[str, Any]:
        return {
            "link_id": link.id,
            "stream": stream,
            "seq": seq,
            "tenant_id": link.tenant_id,
            "device_id": record.device,
            "kind": record_kind(record.body),
            "boot": record.boot,
            "mono_ms": record.mono_ms,
            "wall_ms": record.wall_ms,
            "received_at": self._now,
            "body": codec.to_json(record.body).decode(),
        }


def placed_at(link: KnownLink, record: Record, now: datetime) -> datetime:
    """When the record was made, by our clock; never later than now."""
    if record.boot == link.boot and link.mono_offset_ms is not None:
        estimated_ms = record.mono_ms + link.mono_offset_ms
    else:
        estimated_ms = record.wall_ms - (link.clock_offset_ms or 0)
    return min(from_ms(max(0, estimated_ms)), now)


def _before(at: datetime, wall_ms: int, earlier_ms: int) -> datetime:
    """The moment that the device's clock called ``earlier_ms`` when it called ``at`` ``wall_ms``."""
    span_ms = min(max(0, wall_ms - earlier_ms), _LONGEST_SPAN_MS)
    return at - timedelta(milliseconds=span_ms)


# A clock that was set in between may claim decades; a year is as far back as a timeline need reach.
_LONGEST_SPAN_MS = 366 * 86_400_000


def _printable(text: str) -> str:
    return text.replace("\0", "\ufffd")
