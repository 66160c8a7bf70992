"""How a connection begins and what is said about it: hello, welcome, flow, presence.

Will and hello may arrive in either order: only session ids decide which is newer. Welcome and flow travel inside DSSE
envelopes signed by the server key of the ingest workers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.identifiers import WireDevice, WireHex128, WireMillis
from protocol.streams import Ack, StreamKind

MAX_ATTACHED = 256
HELLO_RETRY_FIRST_S = 5.0
HELLO_RETRY_CAP_S = 300.0

LineName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
VersionText = Annotated[str, Meta(max_length=64)]
Versions = Annotated[list[Annotated[int, Meta(ge=1, le=1000)]], Meta(min_length=1, max_length=8)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]


class Profile(StrEnum):
    METERED = "metered"
    UNMETERED = "unmetered"
    DEMO = "demo"


class PresenceStatus(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"


class AttachedDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``alive``: it answers on its line. A gateway speaks only for devices registered on it."""

    device: WireDevice
    line: LineName
    alive: bool


class StreamPosition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``oldest_held`` to ``last`` are still in the spool; ``acked`` is the last ``upto`` the agent knows."""

    stream: WireHex128
    kind: StreamKind
    last: Annotated[int, Meta(ge=0, le=2**53)]
    oldest_held: Annotated[int, Meta(ge=0, le=2**53)]
    acked: Annotated[int, Meta(ge=0, le=2**53)]
    shed: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``policy_version``, ``stop_epoch`` and ``lift_epoch``: what the link knows of who may command it, so that the
    server can bring what is newer. 0: nothing, or an agent that does not say.
    """

    nonce: WireHex128
    session: WireHex128
    boot: WireHex128
    agent_version: VersionText
    versions: Versions
    capability_digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    devices: Annotated[list[AttachedDevice], Meta(max_length=MAX_ATTACHED)]
    unregistered: Annotated[list[LineName], Meta(max_length=MAX_ATTACHED)]
    streams: Annotated[list[StreamPosition], Meta(max_length=4)]
    profile: Profile
    keepalive_s: Seconds
    report_s: Seconds
    wall_ms: WireMillis
    trusted_ms: WireMillis
    mono_ms: WireMillis
    policy_version: Annotated[int, Meta(ge=0, le=2**53)] = 0
    stop_epoch: Annotated[int, Meta(ge=0, le=2**53)] = 0
    lift_epoch: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pace the server asks for. The agent's own file is the floor.

    ``issued_at_ms``: the signer's clock, Unix milliseconds. Of one connection each flow is younger than the last taken,
    which the welcome begins; one that is not is a replay. Absent: from a server that does not date its flows.
    ``reconnect_first_s``: over how long the first tries of a fleet that lost its broker are spread, whatever the cap of
    the later ones. Absent: over twice the base, at most the cap.
    """

    profile: Profile
    keepalive_s: Seconds
    sample_s: Seconds
    report_s: Seconds
    drain_records_per_s: Annotated[int, Meta(ge=1, le=100_000)]
    reconnect_base_s: Seconds
    reconnect_cap_s: Seconds
    live_for_s: Seconds = 0.0  # live mode for the link's devices: samples and progress on up/live, ends by itself
    live_every_s: Seconds = 2.0
    issued_at_ms: WireMillis | None = None
    reconnect_first_s: Seconds | None = None


class Welcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answers one hello, by its nonce."""

    nonce: WireHex128
    want_capabilities: bool
    ack: Ack
    flow: Flow
    versions: Versions


class Presence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last will, the goodbye, and the word on connecting. A will carries the session it ends."""

    session: WireHex128
    status: PresenceStatus
    reason: Annotated[str, Meta(max_length=80)] = ""
