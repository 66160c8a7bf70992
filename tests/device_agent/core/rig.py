"""What the core's tests stand on: a store in memory, dice that roll what they are told, a clock that is set by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from device_agent.core.instant import NS_PER_S, Instant
from device_agent.core.ports import Dice, Fill
from device_agent.core.records import Changes
from protocol.session import Flow, Profile, StreamPosition
from protocol.streams import StreamKind

EPOCH = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def at(seconds: float) -> Instant:
    return Instant(int(seconds * NS_PER_S), EPOCH + timedelta(seconds=seconds))


@dataclass(slots=True)
class Clock:
    seconds: float = 0.0

    @property
    def now(self) -> Instant:
        return at(self.seconds)

    def pass_s(self, seconds: float) -> Instant:
        self.seconds += seconds
        return self.now


def dice(seed: int = 7, uniform: float | None = None) -> Dice:
    rolls = random.Random(seed)
    return Dice(rolls.random if uniform is None else lambda: uniform, lambda: f"{rolls.getrandbits(128):032x}")


@dataclass(slots=True)
class MemoryStore:
    """Keeps `device_agent.core.ports.Store` without a disk. ``commits`` counts transactions."""

    ids: dict[StreamKind, str] = field(default_factory=lambda: {StreamKind.URGENT: "a" * 32, StreamKind.BULK: "b" * 32})
    records: dict[StreamKind, dict[int, bytes]] = field(default_factory=lambda: {kind: {} for kind in StreamKind})
    last: dict[StreamKind, int] = field(default_factory=lambda: dict.fromkeys(StreamKind, 0))
    acked: dict[StreamKind, int] = field(default_factory=lambda: dict.fromkeys(StreamKind, 0))
    kept_facts: dict[str, str] = field(default_factory=dict)
    rows: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0
    oldest_ms: int | None = None

    def positions(self) -> dict[StreamKind, StreamPosition]:
        return {
            kind: StreamPosition(
                self.ids[kind], kind, self.last[kind], min(self.records[kind], default=0), self.acked[kind]
            )
            for kind in StreamKind
        }

    def commit(self, changes: Changes, at_ms: int) -> bool:
        self.commits += 1
        for record in changes.records:
            self.last[record.stream] += 1
            self.records[record.stream][self.last[record.stream]] = record.payload
        for execution, body in changes.journal.items():
            if body is not None:
                self.rows[execution] = body
        for name, value in changes.facts.items():
            if value is not None:
                self.kept_facts[name] = value
        return False

    def read(
        self, kind: StreamKind, first_seq: int, *, max_records: int, max_bytes: int
    ) -> Sequence[tuple[int, bytes]]:
        run: list[tuple[int, bytes]] = []
        for seq in sorted(seq for seq in self.records[kind] if seq >= first_seq)[:max_records]:
            if run and seq != run[-1][0] + 1:
                break
            run.append((seq, self.records[kind][seq]))
        return run

    def acknowledge(self, kind: StreamKind, upto: int) -> None:
        self.acked[kind] = upto

    def renew_stream(self, kind: StreamKind, new_id: str) -> int:
        held = [payload for seq, payload in sorted(self.records[kind].items()) if seq > self.acked[kind]]
        self.ids[kind], self.acked[kind], self.last[kind] = new_id, 0, len(held)
        self.records[kind] = dict(enumerate(held, 1))
        return len(held)

    def fill(self) -> Fill:
        used_bytes = sum(len(payload) for held in self.records.values() for payload in held.values())
        return Fill(used_bytes, 2**20, self.oldest_ms)

    def fact(self, name: str) -> str | None:
        return self.kept_facts.get(name)

    def facts(self, prefix: str) -> dict[str, str]:
        return {name: value for name, value in self.kept_facts.items() if name.startswith(prefix)}

    def journal(self) -> dict[str, bytes]:
        return dict(self.rows)


FLOW = Flow(
    profile=Profile.DEMO,
    keepalive_s=10,
    sample_s=5,
    report_s=5,
    drain_records_per_s=1000,
    reconnect_base_s=1,
    reconnect_cap_s=60,
)


def raw(text: str) -> bytes:
    return msgspec.json.encode(text)
