"""A terminal that is cut off for a month and reports ten times as often as usual: the real core on the real spool.

Time is virtual. Each report is committed as on a terminal; every try to connect fails. At the end the link comes back,
a server in memory takes everything, and each number must have come or have been declared, once. The run is a process of
its own that has loaded all that an agent loads, and its greatest weight is what the system says of it.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from device_agent.adapters.spool import DEFAULT_QUOTA_BYTES, Spool
from device_agent.core.agent import AgentCore
from device_agent.core.effects import Arrived, Connect, LinkDown, LinkUp, Noticed, Polled, Publish
from device_agent.core.identity import Identity
from device_agent.core.records import Changes, RecordMaker
from device_agent.core.trust import Trust
from device_agent.core.trusted_time import Floor, TrustedClock
from device_agent.core.watch import DeviceSpec
from device_agent.drivers.results import FaultSign
from protocol import codec
from protocol.catalogue.vocabulary import TerminalClass
from protocol.identifiers import DeviceId, LinkId
from protocol.records import Record, RecordBody, Tombstone
from protocol.session import Flow, Hello, Profile, Welcome
from protocol.signing import ACK_TYPE, WELCOME_TYPE, sign
from protocol.streams import Ack, Batch, Received, StreamKind
from protocol.topics import Down, Up
from simulators.terminal import SimulatedTerminal
from tests.benchmarks.figures import Figure
from tests.device_agent.core.rig import Clock, dice
from tests.device_agent.core.test_command_gate import OTHER_KEY, POLICY

LINK: Final = LinkId("d-0123456789abcdef")
DEVICE: Final = DeviceId(LINK)
BOOT: Final = "b" * 32
MONTH_S: Final = 30 * 86_400
# A usual terminal reports each minute and has a fault each hour.
USUAL_REPORT_S: Final = 60.0
USUAL_FAULT_S: Final = 3600.0
FACTOR: Final = 10
TIDY_S: Final = 300.0
# Loaded by every agent, and used by none of what is played here.
_OF_EVERY_AGENT: Final = (
    "device_agent.bootstrap",
    "device_agent.registry",
    "device_agent.adapters.mqtt_link",
    "psutil",
)
_EPOCH: Final = "e" * 32


@dataclass(frozen=True, slots=True)
class Plan:
    offline_s: float
    report_s: float
    fault_s: float
    quota_bytes: int = DEFAULT_QUOTA_BYTES


@dataclass(frozen=True, slots=True)
class Outcome:
    """``misplaced``: urgent records that were given up while samples were held. ``unexplained``: numbers that neither
    came nor were declared, or were both.
    """

    made: int
    given_up: int
    given_up_urgent: int
    declared: int
    misplaced: int
    unexplained: int
    largest_bytes: int
    quota_bytes: int
    rss_mb: float = 0.0


class CountingSpool(Spool):
    """Looks after each commit at what was given up for it."""

    misplaced = 0
    largest_bytes = 0

    def commit(self, changes: Changes, at_ms: int) -> bool:
        before = dict(self.positions())
        has_shed = super().commit(changes, at_ms)
        if has_shed:
            bulk, urgent = (self.positions()[kind] for kind in (StreamKind.BULK, StreamKind.URGENT))
            is_lower_held = 0 < bulk.oldest_held <= before[StreamKind.BULK].last
            self.misplaced += (urgent.shed - before[StreamKind.URGENT].shed) * is_lower_held
        self.largest_bytes = max(self.largest_bytes, self._path.stat().st_size)
        return has_shed


class Server:
    """Takes every batch and acknowledges it at once."""

    def __init__(self) -> None:
        self.came: dict[str, set[int]] = {}
        self.graves: list[Tombstone] = []
        self._received: dict[str, Received] = {}

    def welcome(self, hello: Hello, flow: Flow, now_ms: int) -> Arrived:
        ack = Ack([self._of(one.stream).ack(one.stream) for one in hello.streams], _EPOCH, now_ms)
        return _said(Down.WELCOME, WELCOME_TYPE, Welcome(hello.nonce, False, ack, flow, [1]))

    def take(self, batch: Batch, now_ms: int) -> Arrived:
        for seq, raw in enumerate(batch.records, batch.first_seq):
            self.came.setdefault(batch.stream, set()).add(seq)
            record = codec.from_json(bytes(raw), Record)
            assert isinstance(record, Record)
            if isinstance(record.body, Tombstone):
                self.graves.append(record.body)
                self._of(record.body.stream).add(record.body.first_seq, record.body.last_seq)
        received = self._of(batch.stream)
        received.add(batch.first_seq, batch.first_seq + len(batch.records) - 1)
        return _said(Down.ACK, ACK_TYPE, Ack([received.ack(batch.stream)], _EPOCH, now_ms))

    def _of(self, stream: str) -> Received:
        return self._received.setdefault(stream, Received.empty())


class Month:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self.clock = Clock(1000.0)
        self._server = Server()
        self._is_up = False
        maker = RecordMaker(BOOT)
        self._flow = Flow(Profile.UNMETERED, 60.0, plan.report_s, plan.report_s, 5000, 1.0, 900.0)

        def wrap(body: RecordBody) -> bytes:
            return codec.to_json(maker.record(DEVICE, body, self.clock.now))

        self.spool = CountingSpool(folder / "spool.db", wrap, quota_bytes=plan.quota_bytes)
        trusted = TrustedClock.starting(self.clock.now, persisted=Floor(), newest_record_ms=0)
        spec = DeviceSpec(DEVICE, "terminal", "smart", {})
        identity = Identity(LINK, "default", BOOT, "0.1.0")
        self.core = AgentCore(
            identity, [spec], Trust.fixed(POLICY, "default"), self._flow, self.spool, dice(), trusted, self.clock.now
        )
        self._terminal = SimulatedTerminal(
            TerminalClass.SMART, monotonic=lambda: self.clock.seconds, wall=lambda: 1_800_000_000 + self.clock.seconds
        )

    def run(self) -> Outcome:
        ends_s = self.clock.seconds + self._plan.offline_s
        fault_at = tidy_at = self.clock.seconds
        while self.clock.seconds < ends_s:
            self.core.handle(Polled(DEVICE, True, dict(self._terminal.readings()), frozenset()), self.clock.now)
            if self.clock.seconds >= fault_at:
                fault_at += self._plan.fault_s
                self._fault(f"model.{int(self.clock.seconds)}")
            self._settle()
            if self.clock.seconds >= tidy_at:
                tidy_at += TIDY_S
                self.spool.tidy(self.core.clock.now_ms(self.clock.now))
            self.clock.pass_s(self._plan.report_s)
        self._is_up = True
        while any(one.acked < one.last for one in self.spool.positions().values()):
            self.clock.pass_s(1.0)
            self._settle()
        heaviest = peak_rss_mb()
        return replace(self._outcome(), rss_mb=heaviest)

    def _fault(self, code: str) -> None:
        self.core.handle(Noticed(DEVICE, (FaultSign(code, "x" * 300),), frozenset({code})), self.clock.now)

    def _settle(self) -> None:
        self.core.tick(self.clock.now)
        while effects := self.core.settle(self.clock.now):
            for effect in effects:
                if isinstance(effect, Connect):
                    self.core.handle(LinkUp() if self._is_up else LinkDown("no network"), self.clock.now)
                elif isinstance(effect, Publish) and self._is_up:
                    self._published(effect)

    def _published(self, message: Publish) -> None:
        now_ms = self.core.clock.now_ms(self.clock.now)
        if message.kind is Up.HELLO:
            hello = codec.decode(message.payload, message.content_type, Hello)
            assert isinstance(hello, Hello)
            self.core.handle(self._server.welcome(hello, self._flow, now_ms), self.clock.now)
        elif message.kind in {Up.URGENT, Up.BULK}:
            batch = codec.decode(message.payload, message.content_type, Batch)
            assert isinstance(batch, Batch)
            self.core.handle(self._server.take(batch, now_ms), self.clock.now)

    def _outcome(self) -> Outcome:
        positions = self.spool.positions()
        declared: Counter[tuple[str, int]] = Counter()
        for grave in self._server.graves:
            declared.update((grave.stream, seq) for seq in range(grave.first_seq, grave.last_seq + 1))
        unexplained = sum(
            declared[one.stream, seq] + (seq in self._server.came.get(one.stream, ())) != 1
            for one in positions.values()
            for seq in range(1, one.last + 1)
        )
        return Outcome(
            made=sum(one.last for one in positions.values()),
            given_up=sum(one.shed for one in positions.values()),
            given_up_urgent=positions[StreamKind.URGENT].shed,
            declared=sum(grave.count for grave in self._server.graves),
            misplaced=self.spool.misplaced,
            unexplained=unexplained,
            largest_bytes=self.spool.largest_bytes,
            quota_bytes=self._plan.quota_bytes,
        )


def _said(kind: Down, payload_type: str, message: object) -> Arrived:
    encoded = codec.encode(sign(payload_type, codec.to_json(message), [OTHER_KEY]), deflate=True)
    return Arrived(kind, encoded.payload, encoded.content_type)


def peak_rss_mb() -> float:
    """Of this process, so far."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def played(plan: Plan, folder: Path) -> Outcome:
    """In this process."""
    month = Month(plan, folder)
    try:
        return month.run()
    finally:
        month.spool.close()


def measure(folder: Path) -> list[Figure]:
    plan = Plan(MONTH_S, USUAL_REPORT_S / FACTOR, USUAL_FAULT_S / FACTOR)
    place = Path("/dev/shm") if Path("/dev/shm").is_dir() else folder
    with tempfile.TemporaryDirectory(dir=place) as quick:
        order = json.dumps(asdict(plan))
        child = [sys.executable, "-m", "tests.benchmarks.offline_month", order, quick]
        answer = subprocess.run(child, capture_output=True, check=True).stdout
    found = msgspec.json.decode(answer, type=Outcome)
    mib = 1024 * 1024
    return [
        Figure("30 days offline at ten times the usual rate: records made", found.made, ""),
        Figure("of them given up for want of room", found.given_up, ""),
        Figure("declared to the server", found.declared, "", f"exactly {found.given_up}"),
        Figure("urgent records given up", found.given_up_urgent, ""),
        Figure("urgent records given up while samples were held", found.misplaced, "", "0"),
        Figure("numbers that neither came nor were declared, or both", found.unexplained, "", "0"),
        Figure("spool at its largest", found.largest_bytes / mib, "MiB", f"at most {found.quota_bytes / mib:g} MiB"),
        Figure("heaviest moment of the process, drain included", found.rss_mb, "MB", "below 64 MB"),
    ]


def main() -> int:
    for name in _OF_EVERY_AGENT:
        importlib.import_module(name)
    plan = Plan(**json.loads(sys.argv[1]))
    print(json.dumps(asdict(played(plan, Path(sys.argv[2])))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
