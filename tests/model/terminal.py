"""The device's side of the pipe: the real core on the real spool, and what it ever committed, by marks.

The truth is kept by what a record says, not by its number: a number that was given twice would hide itself.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from device_agent.adapters.spool import Spool
from device_agent.adapters.spool_schema import PAGE_BYTES
from device_agent.core.agent import AgentCore
from device_agent.core.effects import Connect, Effect, GiveUp, LinkDown, LinkUp, Noticed, Polled, Publish
from device_agent.core.identity import Identity
from device_agent.core.ports import Dice
from device_agent.core.records import RANK_DECLARATION, Changes, RecordMaker
from device_agent.core.trust import Trust
from device_agent.core.trusted_time import FLOOR, Floor, TrustedClock
from device_agent.core.watch import DeviceSpec
from device_agent.drivers.results import FaultSign
from protocol import codec
from protocol.identifiers import DeviceId, LinkId
from protocol.records import RecordBody
from protocol.streams import StreamKind
from tests.device_agent.core.rig import FLOW, Clock
from tests.device_agent.core.test_command_gate import POLICY
from tests.model.broker import Broker
from tests.model.marks import CODE_PREFIX, METRIC, Mark, mark_of, record_in

BOOT = "b" * 32
Place = tuple[str, int]


class WatchedSpool(Spool):
    """Notes which marks are held, where, and in which order they are given up."""

    def __init__(self, path: Path, wrap: Callable[[RecordBody], bytes], quota_bytes: int) -> None:
        self.on_committed: Callable[[set[Mark]], None] | None = None
        self._read: dict[bytes, tuple[Mark | None, Place | None]] = {}
        super().__init__(path, wrap, quota_bytes=quota_bytes)

    def commit(self, changes: Changes, at_ms: int) -> bool:
        before = self.held()
        has_shed = super().commit(changes, at_ms)
        after = self.held()
        made = {mark for record in changes.records if (mark := self._mark(record.payload)) is not None}
        if self.on_committed is not None:
            self.on_committed(made)
        self._check_size()
        if has_shed:
            self._check_order(before.keys() - after.keys(), before, after.keys() & before.keys())
        return has_shed

    def _check_size(self) -> None:
        """The file is within its quota; a stream has no holes after its oldest record that is not a declaration."""
        assert self._used_pages() * PAGE_BYTES <= self._quota_bytes
        for kind, position in self.positions().items():
            rows = self._db.execute(
                "SELECT seq, rank FROM record WHERE stream = ? ORDER BY seq", (kind.value,)
            ).fetchall()
            oldest = min((seq for seq, rank in rows if rank < RANK_DECLARATION), default=position.last + 1)
            assert [seq for seq, _ in rows if seq >= oldest] == list(range(oldest, position.last + 1))

    def held(self) -> dict[Mark, tuple[StreamKind, int]]:
        rows = self._db.execute("SELECT stream, seq, payload FROM record")
        found = ((self._mark(payload), (StreamKind(kind), seq)) for kind, seq, payload in rows)
        return {mark: place for mark, place in found if mark is not None}

    def first_keys(self) -> dict[Place, Place]:
        """Of what was saved from a damaged file: which number it had at first."""
        streams = {kind: position.stream for kind, position in self.positions().items()}
        rows = self._db.execute("SELECT stream, seq, payload FROM record")
        found = (((streams[StreamKind(kind)], seq), self._decoded(payload)[1]) for kind, seq, payload in rows)
        return {place: first for place, first in found if first is not None}

    def _mark(self, payload: bytes) -> Mark | None:
        return self._decoded(payload)[0]

    def _decoded(self, payload: bytes) -> tuple[Mark | None, Place | None]:
        if payload not in self._read:
            record = record_in(payload)
            first = None if record.was is None else (record.was.stream, record.was.seq)
            self._read[payload] = mark_of(record.device, record.body), first
        return self._read[payload]

    def _check_order(self, gone: set[Mark], before: dict[Mark, tuple[StreamKind, int]], kept: set[Mark]) -> None:
        """Nothing urgent that the server has not is given up while health is held, and the oldest goes first."""
        acked = {kind: position.acked for kind, position in self.positions().items()}
        given_up = [before[mark] for mark in gone if before[mark][1] > acked[before[mark][0]]]
        still = [before[mark] for mark in kept]
        if any(kind is StreamKind.URGENT for kind, _ in given_up):
            assert all(kind is StreamKind.URGENT for kind, _ in still), "health was kept and a fault given up"
        for kind in StreamKind:
            lost = [seq for of, seq in given_up if of is kind]
            assert not lost or max(lost) < min((seq for of, seq in still if of is kind), default=max(lost) + 1)


class Terminal:
    def __init__(self, link: str, folder: Path, broker: Broker, clock: Clock, quota_bytes: int, seed: int) -> None:
        self.link = LinkId(link)
        self._file = folder / f"{link}.db"
        self._broker = broker
        self._clock = clock
        self._quota_bytes = quota_bytes
        rolls = random.Random(seed)
        self._dice = Dice(rolls.random, lambda: f"{rolls.getrandbits(128):032x}")
        self._looks = 0
        self._events = 0
        self.is_connected = False
        self._will: Publish | None = None
        self.committed: list[Mark] = []
        self.places: defaultdict[Mark, set[Place]] = defaultdict(set)
        self.first_keys: dict[Place, Place] = {}
        # What each damage of the file may have cost, with the streams that were in it.
        self.damages: list[tuple[set[Mark], frozenset[str]]] = []
        self.spool, self.core = self._start()

    def run(self) -> None:
        """A look at the device, what is due by time, and what follows."""
        self._looks += 1
        reading = {METRIC: f"{self._looks:06d}"}
        self.core.handle(Polled(DeviceId(self.link), True, reading, frozenset()), self._clock.now)
        self.core.tick(self._clock.now)
        self._settle()

    def notice(self, count: int, evidence: str) -> None:
        """So many things happen and are over, each raised and cleared in one commit."""
        for _ in range(count):
            self._events += 1
            code = f"{CODE_PREFIX}{self.link}.{self._events:06d}"
            noticed = Noticed(DeviceId(self.link), (FaultSign(code, evidence),), frozenset({code}))
            self.core.handle(noticed, self._clock.now)
        self._settle()

    def hear(self, index: int) -> None:
        if self.is_connected:
            self.core.handle(self._broker.down[self.link].pop(index), self._clock.now)
            self._settle()

    def lose_link(self) -> None:
        if self.is_connected and self._will is not None:
            self._broker.publish_up(self.link, self._will)
        self.is_connected = False
        self.core.handle(LinkDown("gone", own_link_down=True), self._clock.now)
        self._settle()

    def restart(self) -> None:
        """The process dies; what was not committed is gone, and nobody was told of it."""
        self.spool.close()
        if self.is_connected and self._will is not None:
            self._broker.publish_up(self.link, self._will)
        self.is_connected = False
        self.spool, self.core = self._start()

    def waiting(self) -> set[Mark]:
        """What is held and not acknowledged."""
        acked = {kind: position.acked for kind, position in self.spool.positions().items()}
        return {mark for mark, (kind, seq) in self.spool.held().items() if seq > acked[kind]}

    def can_speak_of(self, mark: Mark) -> bool:
        """Whether it was in a stream that goes on: that it is gone will be said."""
        streams = {position.stream for position in self.spool.positions().values()}
        return any(stream in streams for stream, _ in self.places[mark])

    def damage(self, page: int, at_risk: set[Mark]) -> None:
        """A page of the spool's file turns into noise while the agent is off."""
        streams = frozenset(position.stream for position in self.spool.positions().values())
        self.spool.close()
        pages = self._file.stat().st_size // PAGE_BYTES
        with self._file.open("r+b") as file:
            file.seek(page % pages * PAGE_BYTES)
            file.write(b"\xff" * PAGE_BYTES)
        self.damages.append((at_risk, streams))
        self.is_connected = False
        self.spool, self.core = self._start()

    @property
    def is_drained(self) -> bool:
        return all(position.acked == position.last for position in self.spool.positions().values())

    def close(self) -> None:
        self.spool.close()

    def _start(self) -> tuple[WatchedSpool, AgentCore]:
        maker = RecordMaker(BOOT)

        def wrap(body: RecordBody) -> bytes:
            return codec.to_json(maker.record(DeviceId(self.link), body, self._clock.now))

        spool = WatchedSpool(self._file, wrap, self._quota_bytes)
        spool.on_committed = self._on_committed
        trusted = TrustedClock.starting(
            self._clock.now,
            persisted=Floor.from_text(spool.fact(FLOOR)),
            newest_record_ms=spool.newest_record_ms(),
        )
        spec = DeviceSpec(DeviceId(self.link), "host", "smart", {})
        identity = Identity(self.link, "default", BOOT, "1.0")
        trust = Trust.fixed(POLICY, "default")
        return spool, AgentCore(identity, [spec], trust, FLOW, spool, self._dice, trusted, self._clock.now)

    def _on_committed(self, made: set[Mark]) -> None:
        assert not made & set(self.committed), "the model made a mark twice"
        self.committed += sorted(made)

    def _settle(self) -> None:
        while effects := self.core.settle(self._clock.now):
            for effect in effects:
                self._carry_out(effect)
        self._note_places()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Publish() if self.is_connected:
                self._broker.publish_up(self.link, effect)
            case Connect():
                self.is_connected, self._will = True, effect.will
                self.core.handle(LinkUp(), self._clock.now)
            case GiveUp():
                self.core.handle(LinkDown(effect.reason), self._clock.now)
            case _:
                pass

    def _note_places(self) -> None:
        streams = {kind: position.stream for kind, position in self.spool.positions().items()}
        for mark, (kind, seq) in self.spool.held().items():
            self.places[mark].add((streams[kind], seq))
        self.first_keys.update(self.spool.first_keys())
