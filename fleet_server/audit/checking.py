"""Does a chain hold: row by row, against what was signed about it, and, where it does not, what was done to it.

Rows come in the order in which they are stored, from a database or an export; the whole of them is never in memory. The
first row that does not fit is named, with the kind of damage:

    edited     a row is not what its hash says, or the next one names another hash for it
    cut        rows are missing in between, whether or not those behind were numbered anew
    inserted   a row stands there that was never part of this chain at this place
    reordered  the row that belongs there stands somewhere else
    truncated  rows are missing at the end: the head or an anchor knows of more
    rewritten  the chain hangs together, but is not the one that an anchor was signed for
    anchors    an anchor or stub is not signed by the anchor key, is about another chain, or is missing

Rows that were appended, changed or removed after the last anchor by somebody who can change the head as well cannot be
told from true ones: that is why heads are signed daily and kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fleet_server.audit.chain import GENESIS, ChainRow

# Where rows were removed or put in and the rest numbered anew, the true number is looked for this far.
_SHIFT: Final = 10_000
_TOLD_EVERY: Final = 10_000

# Rows behind a place, in the order in which they are stored.
Source = Callable[[int], Iterator[ChainRow]]


class Damage(StrEnum):
    EDITED = "edited"
    CUT = "cut"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    ANCHORS = "anchors"


@dataclass(frozen=True, slots=True)
class Finding:
    """``seq``: the first place that does not fit."""

    damage: Damage
    seq: int
    detail: str


@dataclass(slots=True)
class Check:
    """How far a chain was found to hold: up to ``seq``, whose row has ``row_hash``. ``anchors``: hashes that were
    signed, by place.
    """

    tenant_id: str
    anchors: Mapping[int, str] = field(default_factory=dict)
    seq: int = 0
    row_hash: str = GENESIS
    begun_at: int = 0  # the place behind which it began
    anchored: int = 0  # the last place that an anchor agreed with
    rows: int = 0
    erased: int = 0  # rows that had something beside them which is gone

    @classmethod
    def behind(cls, tenant_id: str, seq: int, row_hash: str, anchors: Mapping[int, str]) -> Check:
        return cls(tenant_id, anchors, seq, row_hash, begun_at=seq, anchored=seq)

    def take(self, row: ChainRow) -> bool:
        """Whether ``row`` is the next one. What it does not fit is left to `diagnose`."""
        follows = row.tenant_id == self.tenant_id and row.seq == self.seq + 1 and row.prev_hash == self.row_hash
        if not follows or not row.is_whole:
            return False
        self.seq, self.row_hash = row.seq, row.row_hash
        self.rows += 1
        self.erased += bool(row.aside) and row.document is None
        return True

    def against_anchor(self) -> Finding | None:
        signed = self.anchors.get(self.seq)
        if signed is None:
            return None
        if signed != self.row_hash:
            said = (
                f"the anchor for entry {self.seq} was signed for another chain: expected {signed}, came {self.row_hash}"
            )
            return Finding(
                Damage.REWRITTEN, self.anchored + 1, f"{said}; the last anchor that agrees is {self.anchored}"
            )
        self.anchored = self.seq
        return None

    def end(self, head: tuple[int, str] | None) -> Finding | None:
        """``head``: as it was read before the rows; None: not known."""
        further = max((seq for seq in self.anchors if seq > self.seq), default=0)
        if further:
            said = f"an anchor was signed for entry {further}, the last one is {self.seq}"
            return Finding(Damage.TRUNCATED, self.seq + 1, said)
        if head is None or head[0] < self.seq:
            return None
        if head[0] > self.seq:
            said = f"the head of the chain is entry {head[0]}, the last one is {self.seq}"
            return Finding(Damage.TRUNCATED, self.seq + 1, said)
        if head[1] != self.row_hash:
            return Finding(Damage.EDITED, self.seq, "the head of the chain names another hash for it")
        return None


def verify(
    source: Source, check: Check, head: tuple[int, str] | None, say: Callable[[int], None] = lambda _: None
) -> Finding | None:
    """The first damage; None: the whole chain holds. ``say`` is told every ten thousand rows how far it is."""
    for row in source(check.seq):
        if not check.take(row):
            return diagnose(check, row, source)
        found = check.against_anchor()
        if found is not None:
            return found
        if check.rows % _TOLD_EVERY == 0:
            say(check.seq)
    return check.end(head)


def diagnose(check: Check, row: ChainRow, source: Source) -> Finding:
    """What happened where ``row`` came and did not fit. Reads the rows behind once more."""
    place = check.seq + 1
    if row.tenant_id != check.tenant_id:
        return Finding(Damage.INSERTED, place, f"this entry says that it is of the tenant {row.tenant_id!r}")
    if row.seq < place:
        damage = Damage.INSERTED if row.seq == check.seq else Damage.REORDERED
        return Finding(damage, row.seq, f"expected entry {place}, came {row.seq} once more or out of its place")
    standing = _place_of_the_next(check, row, source)
    if standing is not None:
        seq, is_followed = standing
        if row.seq == place and is_followed:
            return Finding(Damage.INSERTED, place, f"the entry that belongs here stands, with all behind it, at {seq}")
        return Finding(Damage.REORDERED, place, f"the entry that belongs here stands at {seq}")
    if row.seq > place:
        return Finding(Damage.CUT, place, f"expected entry {place}, came {row.seq}")
    return _in_place(check, row, source)


def _in_place(check: Check, row: ChainRow, source: Source) -> Finding:
    """``row`` has the right number, and the one that belongs there is nowhere."""
    place = row.seq
    if row.prev_hash == check.row_hash:
        return Finding(Damage.EDITED, place, "its contents are not what its hash says")
    following = next(source(place), None)
    is_followed = following is not None and following.prev_hash == row.row_hash
    if row.digest() == row.row_hash:
        if (is_followed or following is None) and place - 1 > check.begun_at:
            return Finding(Damage.EDITED, place - 1, f"entry {place} names another hash for it")
        return Finding(Damage.INSERTED, place, "it is whole, but follows an entry that is not there")
    own = _number_of(row)
    if own is not None and own > place:
        return Finding(Damage.CUT, place, f"this was entry {own}: the ones before it are gone, and it has a new number")
    if own is not None and is_followed:
        return Finding(Damage.INSERTED, own, f"entry {place} was {own}: others were put before it")
    return Finding(Damage.INSERTED, place, "it neither follows the entry before nor is what its hash says")


def _number_of(row: ChainRow) -> int | None:
    """The number that it had when it was hashed, looked for near the one that it has."""
    near = range(max(1, row.seq - _SHIFT), row.seq + _SHIFT)
    return next((seq for seq in near if row.digest(seq=seq) == row.row_hash), None)


def _place_of_the_next(check: Check, row: ChainRow, source: Source) -> tuple[int, bool] | None:
    """Where the row stands that belongs behind the last good one, and whether what stands behind it belongs there."""
    place = check.seq + 1
    found: ChainRow | None = None
    for other in source(check.seq):
        if found is not None:
            return found.seq, other.digest(found.digest(check.row_hash, place), place + 1) == other.row_hash
        if other != row and other.digest(check.row_hash, place) in {other.row_hash, row.row_hash}:
            found = other
    return None if found is None else (found.seq, False)
