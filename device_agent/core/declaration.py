"""What the agent says of itself on connecting: its capabilities, and the hello that names their digest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from device_agent.core.instant import Instant
from device_agent.core.watch import DeviceSpec, Watch
from protocol import capabilities as caps
from protocol.identifiers import Nonce, SessionId
from protocol.session import AttachedDevice, Flow, Hello, StreamPosition
from protocol.version import PROTOCOL_VERSION


def capabilities_of(specs: Sequence[DeviceSpec]) -> caps.Capabilities:
    return caps.Capabilities(
        [
            caps.DeviceCapabilities(
                device=spec.device,
                family=spec.family,
                terminal_class=spec.terminal_class,
                actions=[definition.declared for definition in spec.definitions.values()],
                metrics=list(spec.metrics),
                model=spec.model,
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
    )
