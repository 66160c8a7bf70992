"""What an agent declares it can check and fix. The server's code knows no action by name; it shows what is declared.

The digest in hello is the SHA-256 of the canonical JSON of ``Capabilities``; the server asks for the document when it
does not have that digest.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.commands import MAX_RETRIES, ActionKind, DangerClass
from protocol.identifiers import WireAction, WireCode, WireDevice, WireMetric
from protocol.parameters import MAX_PARAMETERS, Parameter, Words
from protocol.session import MAX_ATTACHED

MAX_ACTIONS = 64
MAX_FIRMWARE = 80
MAX_METRICS = 128
MAX_STEPS = 16


class StepNature(StrEnum):
    """What may be done with a step after a crash: run it again, ask whether it happened, or neither."""

    IDEMPOTENT = "idempotent"
    PROBEABLE = "probeable"
    ONCE = "once"


# A step of these may be run again without harm: by itself, or when its probe says that it did not happen.
REPEATABLE: Final = frozenset({StepNature.IDEMPOTENT, StepNature.PROBEABLE})


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    title: Words
    nature: StepNature


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One check, test or fix. ``cures``: codes it may mend; ``finds``: codes it can tell. ``retries``: how often a part
    is tried again when nobody answered it; none where a test or a step may happen only once.
    """

    name: WireAction
    kind: ActionKind
    title: Words
    danger_class: DangerClass
    expected_s: Annotated[float, Meta(gt=0, le=86_400)]
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)]
    params: Annotated[list[Parameter], Meta(max_length=MAX_PARAMETERS)] = []
    explains: Words | None = None  # what it does, what it changes, how it is undone
    unit: Annotated[str, Meta(max_length=24)] = ""
    outage_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0  # how long the terminal cannot take payment meanwhile
    pre_check: WireAction | None = None
    post_check: WireAction | None = None
    steps: Annotated[list[Step], Meta(max_length=MAX_STEPS)] = []
    soak_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    retries: Annotated[int, Meta(ge=0, le=MAX_RETRIES)] = 0
    cures: Annotated[list[WireCode], Meta(max_length=32)] = []
    finds: Annotated[list[WireCode], Meta(max_length=64)] = []

    def __post_init__(self) -> None:
        is_repeatable = self.kind is not ActionKind.TEST and all(step.nature in REPEATABLE for step in self.steps)
        if self.retries and not is_repeatable:
            raise ValueError(f"{self.name}: expected no retries of what may happen only once, came {self.retries}")


class DeviceCapabilities(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``family`` names the driver (host, zvt, escpos, modem, …); ``terminal_class`` picks the normal ranges."""

    device: WireDevice
    family: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    terminal_class: Annotated[str, Meta(pattern=r"^(e_sign|traditional|smart|kiosk)$")]
    actions: Annotated[list[Action], Meta(max_length=MAX_ACTIONS)]
    metrics: Annotated[list[WireMetric], Meta(max_length=MAX_METRICS)] = []
    model: Annotated[str, Meta(max_length=80)] = ""
    firmware: Annotated[str, Meta(max_length=MAX_FIRMWARE)] = ""


class Capabilities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    devices: Annotated[list[DeviceCapabilities], Meta(min_length=1, max_length=MAX_ATTACHED + 1)]


def digest(capabilities: Capabilities) -> str:
    """SHA-256 of the document as it is encoded by whoever has read it, in hexadecimal: the same on both sides, also
    where the maker wrote a whole number in the place of a fraction.
    """
    read = msgspec.json.decode(msgspec.json.encode(capabilities), type=Capabilities)
    return hashlib.sha256(msgspec.json.encode(read, order="deterministic")).hexdigest()
