"""What a bundle says of itself: its last file, ``manifest.json``. A bundle without it, or that differs from it, is not
whole.

Every field is of a narrow type: nothing here is free text, so that there is nothing to scrub.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.bundles.archive import MAX_FILE_BYTES, MAX_FILES, NAME
from protocol.identifiers import WireDevice, WireSha256

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
_LATEST_MS: Final = 4_000_000_000_000  # in 2096; longer numbers could be a card's

FileName = Annotated[str, Meta(pattern=f"^{NAME.pattern}$", max_length=100)]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Version = Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{1,32}$")]


class Absence(StrEnum):
    """Why something that is usually there is not, or only in part."""

    NOT_CONFIGURED = "not_configured"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    OUT_OF_TIME = "out_of_time"
    NOT_ANSWERED = "not_answered"


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``cut``: why what is older, or the rest, is not in it. ``masked``: how often card data was taken out.
    ``dropped_chars``: in lines that were too long to be looked at.
    """

    name: FileName
    size: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]
    sha256: WireSha256
    cut: Absence | None = None
    masked: Count = 0
    dropped_chars: Count = 0


class LeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: FileName
    reason: Absence


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    format: Annotated[int, Meta(ge=1, le=1000)]
    link: WireDevice
    agent_version: Version
    made_at_ms: Annotated[int, Meta(ge=0, le=_LATEST_MS)]
    took_ms: Annotated[int, Meta(ge=0, le=3_600_000)]
    files: Annotated[list[File], Meta(max_length=MAX_FILES)]
    left_out: Annotated[list[LeftOut], Meta(max_length=MAX_FILES)] = []
