"""What a scan answers: where something is that must not stay, and what may stand in its place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class HitKind(Enum):
    """In order of what wins when two overlap: what is dropped whole before what leaves four digits."""

    TRACK = "track"
    PIN = "pin"
    KEY = "key"
    CVV = "cvv"
    HOLDER = "holder"
    ID_CARD = "id_card"
    PAYMENT_CODE = "payment_code"
    PAN = "pan"


class Finding(NamedTuple):
    """A stretch of the scanned text; `last_four` is set for a PAN only. A tuple: dense texts make many."""

    start: int
    end: int
    kind: HitKind
    last_four: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """What was replaced, never its value: positions are in the text of the pass that found it."""

    kind: HitKind
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Scrubbed:
    text: str
    hits: tuple[Hit, ...]


def merge(findings: list[Finding]) -> list[Finding]:
    """Overlapping findings become one that covers them all, of the kind that drops most."""
    merged: list[Finding] = []
    for finding in sorted(findings, key=lambda found: (found.start, -found.end)):
        if merged and finding.start < merged[-1].end:
            merged[-1] = _union(merged[-1], finding)
        else:
            merged.append(finding)
    return merged


def replacement(finding: Finding) -> str:
    if finding.kind is HitKind.PAN:
        return f"[PAN …{finding.last_four}]"
    return f"[{finding.kind.name}]"


RANK = {kind: rank for rank, kind in enumerate(HitKind)}


def _union(first: Finding, second: Finding) -> Finding:
    winner = first if RANK[first.kind] <= RANK[second.kind] else second
    return Finding(first.start, max(first.end, second.end), winner.kind, winner.last_four)
