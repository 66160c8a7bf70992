"""What the core orders: publish, connect, run a part of an action on a device's worker, answer the local command line.

And what it is told: the events. Both are values; carrying them out and bringing them in is the runner's part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from device_agent.actions import Definition, Finding
from device_agent.core.safe_moment import Guard
from device_agent.drivers.results import FaultSign
from protocol.codec import JSON
from protocol.identifiers import DeviceId, ExecutionId
from protocol.parameters import ParamValue
from protocol.safety import Condition
from protocol.topics import Down, Up


@dataclass(frozen=True, slots=True)
class Publish:
    kind: Up
    payload: bytes
    content_type: str = JSON
    qos: int = 1


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection whose last will is ``will`` on the presence topic. ``trusted_ms``: a moment that is past for
    certain, by which a certificate may be seen to have ended; 0 when none is known.
    """

    will: Publish
    keepalive_s: int
    trusted_ms: int = 0


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The connection being opened leads nowhere."""

    reason: str


class JobKind(Enum):
    CONDITIONS = "conditions"
    CHECK = "check"
    STEP = "step"
    PROBE = "probe"
    SHOW = "show"


@dataclass(frozen=True, slots=True)
class Job:
    """One blocking call on a device's worker. ``serial`` tells its answer from a late one of an earlier job.

    ``guard``: asked by the worker before it begins. ``identity``: of the device that must be the one that answers.
    """

    execution: ExecutionId
    serial: int
    device: DeviceId
    kind: JobKind
    definition: Definition
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    step_index: int = 0
    boot_before: str = ""
    mark: str = ""  # what the device had told before the test began
    trusted_ms: int = 0
    guard: Guard | None = None
    identity: str = ""
    lines: tuple[str, ...] = field(default=(), repr=False)  # what a merchant is to read


@dataclass(frozen=True, slots=True)
class RunJob:
    job: Job


@dataclass(frozen=True, slots=True)
class AbandonWorker:
    """The device's worker did not answer in the declared time; another takes its place."""

    device: DeviceId


@dataclass(frozen=True, slots=True)
class CancelJobs:
    """Asks a running function to stop at its next chance (`ActionContext.is_cancelled`)."""

    execution: ExecutionId


Effect = Publish | Connect | GiveUp | RunJob | AbandonWorker | CancelJobs


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The broker accepted the connection and the subscription is made."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """``own_link_down``: this device has no network of its own; ``is_silent``: the peer fell silent."""

    reason: str
    own_link_down: bool = False
    is_silent: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    kind: Down
    payload: bytes
    content_type: str | None


@dataclass(frozen=True, slots=True)
class Polled:
    """One look at a device: what was read, what is wrong now, whether it answers at all."""

    device: DeviceId
    alive: bool
    readings: Mapping[str, Any]
    signs: frozenset[FaultSign]
    untold: frozenset[str] = frozenset()
    """Codes that this look can neither show nor rule out."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """Codes that happened (a line of the payment application's log), as against those that hold.

    ``ended``: codes that a line shows to be over.
    """

    device: DeviceId
    signs: tuple[FaultSign, ...]
    ended: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class JobStarted:
    """The worker has begun the job; its declared time runs from here."""

    execution: ExecutionId
    serial: int


@dataclass(frozen=True, slots=True)
class JobDone:
    """What a job answered: the part that belongs to its kind, or ``error`` (a code) with ``detail`` in words.

    ``is_begun`` false: it changed nothing, for its guard found what it has to wait for (`conditions`) or could not ask.
    """

    execution: ExecutionId
    serial: int
    findings: tuple[Finding, ...] = ()
    conditions: frozenset[Condition] = frozenset()
    probe: bool | None = None
    mark: str = ""
    boot: str = ""
    identity: str = ""
    error: str = ""
    detail: str = ""
    duration_ms: int = 0
    is_begun: bool = True


@dataclass(frozen=True, slots=True)
class JobProgress:
    execution: ExecutionId
    percent: int
    note: str


@dataclass(frozen=True, slots=True)
class Carried:
    """``total_bytes``: what the link has carried both ways since the process began. ``is_last``: the process ends."""

    total_bytes: int
    is_last: bool = False


Event = LinkUp | LinkDown | Arrived | Polled | Noticed | JobStarted | JobDone | JobProgress | Carried
