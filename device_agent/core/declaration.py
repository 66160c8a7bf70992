"""What the agent says of itself on connecting: its capabilities, and the hello that names their digest.

Invariant: unasked, capabilities are declared at most once in `UNASKED_EVERY_S`, and what was held back is declared
then: a device that tells another version at each look costs its link six an hour, and the last version gets through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from device_agent.core.effects import Polled, Publish
from device_agent.core.instant import Instant
from device_agent.core.trust import Trust
from device_agent.core.watch import DeviceSpec, Watch
from protocol import capabilities as caps
from protocol import codec
from protocol.identifiers import DeviceId, Nonce, SessionId
from protocol.redaction import scrub
from protocol.session import AttachedDevice, Flow, Hello, StreamPosition
from protocol.topics import Up
from protocol.version import PROTOCOL_VERSION

UNASKED_EVERY_S = 600.0


class Declaration:
    """The capabilities and their digest. A device's firmware is what it last told, kept over restarts as a fact, so
    that it is declared again only when it changed.
    """

    READING = "sys.firmware_ver"

    def __init__(
        self, specs: Sequence[DeviceSpec], fact: Callable[[str], str | None], clean: Callable[[str], str]
    ) -> None:
        self._specs, self._clean = specs, clean
        self._firmware = {spec.device: fact(self.fact_name(spec.device)) or "" for spec in specs}
        self._told = ""  # The digest in the last hello or declaration.
        self._unasked_from_ns = 0
        self._make()

    @staticmethod
    def fact_name(device: DeviceId) -> str:
        return f"firmware/{device}"

    def on_polled(self, polled: Polled) -> dict[str, str]:
        """Facts to keep; none when nothing is new."""
        told, known = polled.readings.get(self.READING), self._firmware.get(polled.device)
        if known is None or not isinstance(told, str):
            return {}
        version = self._clean(told).strip()[: caps.MAX_FIRMWARE]
        if version in {"", known}:
            return {}
        self._firmware[polled.device] = version
        self._make()
        return {self.fact_name(polled.device): version}

    def greeted(self) -> None:
        """A hello has named the digest: who knows another asks."""
        self._told = self.digest

    def asked(self) -> Publish:
        self._told = self.digest
        return declare(self.capabilities)

    def unasked(self, now: Instant) -> Publish | None:
        """What changed since it was told, unless it is too soon for it."""
        due_ns = self.next_due_ns()
        if due_ns is None or due_ns > now.monotonic_ns:
            return None
        self._unasked_from_ns = now.in_s(UNASKED_EVERY_S)
        return self.asked()

    def next_due_ns(self) -> int | None:
        return None if self._told == self.digest else self._unasked_from_ns

    def _make(self) -> None:
        self.capabilities = _capabilities_of(self._specs, self._firmware)
        self.digest = caps.digest(self.capabilities)


def declare(capabilities: caps.Capabilities) -> Publish:
    encoded = codec.encode(capabilities, deflate=True)
    return Publish(Up.CAPABILITIES, encoded.payload, encoded.content_type)


def _capabilities_of(specs: Sequence[DeviceSpec], firmware: Mapping[DeviceId, str]) -> caps.Capabilities:
    return caps.Capabilities(
        [
            caps.DeviceCapabilities(
                device=spec.device,
                family=spec.family,
                terminal_class=spec.terminal_class,
                actions=[definition.declared for definition in spec.definitions.values()],
                metrics=list(spec.metrics),
                # What the server would make of it: else the digests of the two would differ.
                model=scrub(spec.model).text[:80],
                firmware=firmware[spec.device],
            )
            for spec in specs
        ]
    )


def hello(
    *,
    boot: str,
    agent_version: str,
    unregistered: Sequence[str],
    nonce: Nonce,
    session: SessionId,
    digest: str,
    watches: Iterable[Watch],
    positions: Iterable[StreamPosition],
    flow: Flow,
    keepalive_s: int,
    trusted_ms: int,
    trust: Trust,
    now: Instant,
) -> Hello:
    attached = [watch for watch in watches if watch.spec.line]
    return Hello(
        nonce=nonce,
        session=session,
        boot=boot,
        agent_version=agent_version,
        versions=[PROTOCOL_VERSION],
        capability_digest=digest,
        devices=[AttachedDevice(watch.spec.device, watch.spec.line, bool(watch.alive)) for watch in attached],
        unregistered=list(unregistered),
        streams=list(positions),
        profile=flow.profile,
        keepalive_s=keepalive_s,
        report_s=flow.report_s,
        wall_ms=now.wall_ms,
        trusted_ms=trusted_ms,
        mono_ms=now.mono_ms,
        policy_version=trust.policy.version,
        stop_epoch=trust.stop.stopped,
        lift_epoch=trust.stop.lifted,
    )
