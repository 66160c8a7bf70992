"""What the repository of software says of a target beside its length and hash, and on which device it may be installed.

The repository is TUF's (specification 1.0). Which one a tenant's devices believe is said by the policy, that is by the
hash of the repository's first root, so that a device learns it as it learns any other key. A device shows at the door
who it is by its certificate and a proof of its key.

Invariant: `refuses` lets nothing onto a device that the target does not name, and no version below the running one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from protocol import codec
from protocol.errors import Malformed
from protocol.identifiers import WireDevice, WireMillis

# Where a target's own facts stand in TUF's ``custom``.
CUSTOM: Final = "tillmedic"
# A root that says this is for practice: nobody publishes it, and no device takes it.
REHEARSAL: Final = "x-tillmedic-rehearsal"
MAX_ROOTS: Final = 16
MAX_TARGETS_BYTES: Final = 128 * 1024
METADATA_PATH: Final = "/artifacts/v1/metadata/"
TARGETS_PATH: Final = "/artifacts/v1/targets/"
PASS_SCHEME: Final = "Device "  # noqa: S105 - the scheme of a header
# How far a device's trusted clock may be from the server's in a pass.
PASS_SPREAD_MS: Final = 3600 * 1000
_VERSION: Final = r"^[0-9]{1,9}(\.[0-9]{1,9}){0,3}$"
_RELATIVE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
MAX_PATH: Final = 200

WireVersion = Annotated[str, Meta(pattern=_VERSION)]


class ArtifactKind(StrEnum):
    AGENT = "agent"
    PAYMENT_APPLICATION = "payment_application"
    CONFIGURATION = "configuration"
    DATA = "data"
    FIRMWARE = "firmware"


class TargetFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``models``: of the devices that it fits, as they tell them; at least one. ``from_version``: the lowest version
    that it may follow; empty: any.
    """

    kind: ArtifactKind
    version: WireVersion
    models: Annotated[list[Annotated[str, Meta(min_length=1, max_length=80)]], Meta(min_length=1, max_length=32)]
    from_version: Annotated[str, Meta(pattern=f"{_VERSION}|^$")] = ""


class DevicePass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``chain``: the link's certificate and the issuing one as DER in base64. ``proof``: ECDSA over `pass_bytes`."""

    link: WireDevice
    at_ms: WireMillis
    chain: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(min_length=2, max_length=2)]
    proof: Annotated[str, Meta(pattern=r"^[0-9a-f]{16,200}$")]


def pass_bytes(link: str, at_ms: int) -> bytes:
    return b"tillmedic artifacts v1\0%b\0%d" % (link.encode(), at_ms)


def pass_header(shown: DevicePass) -> str:
    return PASS_SCHEME + base64.urlsafe_b64encode(codec.to_json(shown)).decode()


def read_pass(header: str) -> DevicePass | Malformed:
    if not header.startswith(PASS_SCHEME):
        return Malformed("not_decodable", "expected a device's pass")
    try:
        plain = base64.b64decode(header.removeprefix(PASS_SCHEME), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return Malformed("not_decodable", "the pass is not base64")
    return codec.from_json(plain, DevicePass)


def is_target_path(text: str, longest: int = MAX_PATH) -> bool:
    """A path below a folder that leads nowhere else on any system, as `Artifact.path` has it or more narrowly."""
    return len(text) <= longest and _RELATIVE.fullmatch(text) is not None


def facts_of(custom: object) -> TargetFacts | Malformed:
    """``custom``: as TUF's metadata of the target has it."""
    said: Any = custom.get(CUSTOM) if isinstance(custom, Mapping) else None
    if said is None:
        return Malformed("facts", "the repository does not say what this target is for")
    try:
        return msgspec.convert(said, TargetFacts)
    except msgspec.ValidationError as error:
        return Malformed("facts", str(error)[:200])


def version_key(text: str) -> tuple[int, ...] | None:
    """By which versions are compared; None for a text that is none. ``1.2`` and ``1.2.0`` are the same."""
    if re.fullmatch(_VERSION.strip("^$"), text) is None:
        return None
    parts = [int(part) for part in text.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def refuses(facts: TargetFacts, model: str, running: str) -> str | None:
    """Why a device of ``model`` that runs ``running`` (empty: nothing yet) does not take this; None when it does."""
    if model not in facts.models:
        return f"it is for {', '.join(facts.models)[:200]}, this is {model or 'of no known model'}"
    if not running:
        return f"it follows {facts.from_version} or later, nothing is there" if facts.from_version else None
    present, wanted = version_key(running), version_key(facts.version)
    if present is None or wanted is None:
        return f"the running version {running[:40]!r} cannot be compared with {facts.version}"
    if wanted < present:
        return f"version {facts.version} is older than {running}, which runs"
    lowest = version_key(facts.from_version)
    if lowest is not None and present < lowest:
        return f"it follows {facts.from_version} or later, {running} runs"
    return None
