"""A load run: links made from their bundles, connected, talking for a while, silent until everything is acknowledged.

Invariant: the run ends well only when every record that was ever numbered has the server's signed acknowledgement.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from device_agent.adapters import clock
from device_agent.core.ports import Dice
from protocol.session import Profile
from protocol.signing import Policy
from simulators.errors import SimulatorError
from simulators.load.fleet import TERMINAL_CLASS, Bundle
from simulators.load.sayings import Sayings, Talker
from simulators.load.swarm import BrokerAddress, Credentials, Swarm
from simulators.load.tally import Tally, Times
from simulators.load.traffic import Traffic
from simulators.load.wire_link import LinkPlan, WireLink

PROGRESS_EVERY_S: Final = 5.0
# Of 10,000 connections with mutual TLS on two cores, with as much again for a crowded machine.
CONNECT_S_PER_LINK: Final = 0.05
# Each device behind a link is told of as online, and declared, at its link's first hello.
CONNECT_S_PER_DEVICE: Final = 0.001
CONNECT_LEAST_S: Final = 60.0


class NotConnected(SimulatorError):
    code = "not_connected"


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at the run. Rates are those since the last look."""

    elapsed_s: float
    phase: str
    connected: int
    made_per_s: float
    acked_per_s: float
    ack_p50_s: float
    ack_p99_s: float
    open_records: int
    resent: int


@dataclass(frozen=True, slots=True)
class Summary:
    links: int
    devices: int
    connect_s: float
    held_s: float
    drain_s: float
    made: int
    acked: int
    lost: int
    points: int
    faults_raised: int
    faults_cleared: int
    samples_passed_over: int
    batches: int
    batch_bytes: int
    resent: int
    ack_p50_s: float
    ack_p99_s: float
    ack_max_s: float
    urgent_ack_p99_s: float
    losses: int
    attempts: int
    commands: int

    @property
    def is_well(self) -> bool:
        return self.lost == 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class LoadRun:
    def __init__(
        self,
        bundles: Sequence[Bundle],
        policy: Policy,
        traffic: Traffic,
        *,
        seed: int = 1,
        broker: BrokerAddress | None = None,
        tell: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        """``broker``: where to connect instead of what the bundles say."""
        self.tally = Tally()
        self.traffic = traffic
        self._tell = tell
        first = bundles[0]
        address = broker or BrokerAddress(first.host, first.port, first.folder / "ca.crt")
        self.swarm = Swarm(address, clock.now, self.tally.counts)
        self.links = [self._link(place, bundle, policy, seed) for place, bundle in enumerate(bundles)]
        for link, bundle in zip(self.links, bundles, strict=True):
            credentials = Credentials(bundle.folder / "client.crt", bundle.folder / "client.key")
            self.swarm.add(link, credentials if address.ca is not None else None)
        self._devices = sum(len(bundle.attached) or 1 for bundle in bundles)
        self._began_s = time.monotonic()
        self._looked_s = self._began_s
        self._looked = (0, 0)

    def connect(self) -> float:
        """Seconds until every link was welcomed. Raises ``NotConnected``."""
        began_s = time.monotonic()
        limit_s = CONNECT_LEAST_S + len(self.links) * CONNECT_S_PER_LINK + self._devices * CONNECT_S_PER_DEVICE
        self.swarm.start()
        self._run("connecting", limit_s, self._are_welcomed)
        welcomed = sum(link.is_established for link in self.links)
        if welcomed < len(self.links):
            raise NotConnected(f"expected {len(self.links)} links to be welcomed within {limit_s:g} s, came {welcomed}")
        return time.monotonic() - began_s

    def _are_welcomed(self) -> bool:
        return all(link.is_established for link in self.links)

    def talk(self, seconds: float, on_step: Callable[[], None] = lambda: None) -> float:
        now = clock.now()
        for link in self.links:
            link.begin(now)
        self.swarm.touch_all()
        return self._run("talking", seconds, lambda: False, on_step)

    def surge(self, within_s: float) -> Times:
        """All links report in the same moment, each with the sample just taken; how long the acknowledgements took.

        What has none in the end counts as the whole time.
        """
        sample_ms = self.traffic.sample_ms
        taken = clock.now().wall_ms // sample_ms
        self._run("waiting", self.traffic.sample_s + 1, lambda: clock.now().wall_ms // sample_ms > taken)
        now = clock.now()
        self.tally.surge = Times()
        for link in self.links:
            link.hurry(now)
        self.swarm.touch_all()
        self.swarm.step()
        self._run("surging", within_s, lambda: self.tally.counts["acked"] >= self.tally.counts["made"])
        times, self.tally.surge = self.tally.surge, None
        open_records = self.tally.counts["made"] - self.tally.counts["acked"]
        if open_records:
            times.add(within_s, open_records)
        return times

    def drain(self, within_s: float) -> float:
        """Seconds until nothing was left to be acknowledged, or until the time was over."""
        for link in self.links:
            link.finish()
        return self._run("draining", within_s, lambda: self.tally.counts["acked"] >= self.tally.counts["made"])

    def close(self) -> None:
        self.swarm.close()

    def summary(self, connect_s: float, held_s: float, drain_s: float) -> Summary:
        counts, acks = self.tally.counts, self.tally.acks
        return Summary(
            links=len(self.links),
            devices=self._devices,
            connect_s=round(connect_s, 2),
            held_s=round(held_s, 2),
            drain_s=round(drain_s, 2),
            made=counts["made"],
            acked=counts["acked"],
            lost=sum(link.open_records + link.store.forgotten for link in self.links),
            points=counts["points"],
            faults_raised=counts["faults_raised"],
            faults_cleared=counts["faults_cleared"],
            samples_passed_over=counts["samples_passed_over"],
            batches=counts["batches"],
            batch_bytes=counts["batch_bytes"],
            resent=counts["resent"],
            ack_p50_s=round(acks.percentile_s(0.5), 4),
            ack_p99_s=round(acks.percentile_s(0.99), 4),
            ack_max_s=round(acks.longest_s, 4),
            urgent_ack_p99_s=round(self.tally.urgent_acks.percentile_s(0.99), 4),
            losses=counts["losses"],
            attempts=counts["attempts"],
            commands=counts["commands"],
        )

    def _run(
        self, phase: str, seconds: float, is_over: Callable[[], bool], on_step: Callable[[], None] = lambda: None
    ) -> float:
        began_s = time.monotonic()
        until_s = began_s + seconds
        while (now_s := time.monotonic()) < until_s and not is_over():
            self.swarm.step()
            on_step()
            if now_s - self._looked_s >= PROGRESS_EVERY_S:
                self._look(phase, now_s)
        return time.monotonic() - began_s

    def _look(self, phase: str, now_s: float) -> None:
        counts, recent = self.tally.counts, self.tally.take_recent()
        span_s = now_s - self._looked_s
        made, acked = counts["made"], counts["acked"]
        self._tell(
            Progress(
                elapsed_s=now_s - self._began_s,
                phase=phase,
                connected=self.swarm.connected,
                made_per_s=(made - self._looked[0]) / span_s,
                acked_per_s=(acked - self._looked[1]) / span_s,
                ack_p50_s=recent.percentile_s(0.5),
                ack_p99_s=recent.percentile_s(0.99),
                open_records=made - acked,
                resent=counts["resent"],
            )
        )
        self._looked_s, self._looked = now_s, (made, acked)

    def _link(self, place: int, bundle: Bundle, policy: Policy, seed: int) -> WireLink:
        chance = random.Random(seed * 1_000_003 + place)
        # Streams, nonces and sessions must never come twice, whatever the seed.
        dice = Dice(chance.random, clock.system_dice().hex128)
        boot = dice.hex128()
        talkers = talkers_of(place, bundle)
        plan = LinkPlan(
            bundle.link,
            bundle.attached,
            TERMINAL_CLASS,
            self.traffic.metric_names,
            Profile.UNMETERED,
            self.traffic.report_s,
        )
        sayings = Sayings(talkers, self.traffic, boot, chance.getrandbits(32))
        return WireLink(plan, sayings, policy, dice, boot, self.tally, clock.now())


def talkers_of(place: int, bundle: Bundle) -> list[Talker]:
    """A gateway speaks for what hangs on it; a terminal for itself. Numbers decide values and follow from the place."""
    if not bundle.attached:
        return [Talker(bundle.link, place)]
    first = place * len(bundle.attached)
    return [Talker(device, first + number) for number, device in enumerate(bundle.attached.values())]
