"""What must never go back, kept in a second place beside the spool: counters, uses, policy, stop, time floor.

Each commit that touches one of these numbers raises a generation in both places. When the spool is found behind, it was
restored from an older copy or lost what it knew; then the higher of both holds, and every counter up to the highest
that was ever taken counts as used. Two slots are written in turn, each with its hash, so a torn write costs one step.

Claimed is what two files can give without a chip: whoever restores the spool alone, or the folder that it lies in while
this one lies elsewhere, sets nothing back. Whoever restores both from the same day does, until the server brings its
policy, stop and time again; the nonce of the session still keeps old commands of class 1 and 2 from being played.

Invariant: no number that `fact` answers after `reconcile` is below what either place has held.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from device_agent.adapters.spool import Spool
from device_agent.core import trust
from device_agent.core.command_gate import USES
from device_agent.core.consent import FACT as CONSENT_FACT
from device_agent.core.consent import Budget
from device_agent.core.ports import Fill
from device_agent.core.records import Changes
from device_agent.core.replay import ReplayWindow
from device_agent.core.trusted_time import FLOOR, Floor
from protocol.codec import UNREADABLE
from protocol.session import StreamPosition
from protocol.streams import StreamKind

GENERATION: Final = "guard_generation"
COUNTERS: Final = "counter/"
_NAMES: Final = {FLOOR, trust.VERSION, trust.CHAIN, trust.STOP}
_PREFIXES: Final = (COUNTERS, USES, CONSENT_FACT)
_SLOTS: Final = ("guard.a", "guard.b")
_log = logging.getLogger(__name__)


class _Slot(msgspec.Struct, frozen=True):
    """``sha256``: of generation and facts as JSON."""

    generation: int
    facts: dict[str, str]
    sha256: str


class Guard:
    """``generation`` 0: nothing was ever kept here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        slots = [slot for name in _SLOTS if (slot := _read(folder / name)) is not None]
        newest = max(slots, key=lambda slot: slot.generation, default=_Slot(0, {}, ""))
        self.generation = newest.generation
        self.facts = dict(newest.facts)

    def keep(self, generation: int, facts: Mapping[str, str | None]) -> None:
        """Durable when it returns. A disk that takes nothing is logged: the spool is then ahead, which is in order."""
        for name, value in facts.items():
            if value is None:
                self.facts.pop(name, None)
            else:
                self.facts[name] = value
        self.generation = generation
        body = _body(generation, self.facts)
        slot = _Slot(generation, self.facts, hashlib.sha256(body).hexdigest())
        try:
            self._write(self._folder / _SLOTS[generation % 2], msgspec.json.encode(slot))
        except OSError as error:
            _log.error("%s cannot be written: %s", self._folder, error.strerror)

    def _write(self, path: Path, body: bytes) -> None:
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if os.write(descriptor, body) != len(body):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


class GuardedStore:
    """The spool as the core sees it (`device_agent.core.ports.Store`), with the guard behind it."""

    def __init__(self, spool: Spool, guard: Guard) -> None:
        self._spool = spool
        self._guard = guard

    def reconcile(self) -> str:
        """To be asked once, before anything is read: what was set right, in words, or nothing."""
        own = int(self._spool.fact(GENERATION) or 0)
        facts = self._guarded_facts()
        if own >= self._guard.generation:
            if own > self._guard.generation or (own == 0 and facts):
                self._keep(max(own, 1), facts)
            return ""
        behind = self._guard.generation - own
        self._keep(self._guard.generation + 1, _higher(facts, self._guard.facts))
        return f"the spool was {behind} steps behind what this agent had already taken: it was restored or lost"

    def commit(self, changes: Changes, at_ms: int) -> bool:
        guarded = {name: value for name, value in changes.facts.items() if _is_guarded(name)}
        if not guarded:
            return self._spool.commit(changes, at_ms)
        generation = self._guard.generation + 1
        changes.facts[GENERATION] = str(generation)
        was_shed = self._spool.commit(changes, at_ms)
        self._guard.keep(generation, guarded)
        return was_shed

    def positions(self) -> dict[StreamKind, StreamPosition]:
        return self._spool.positions()

    def read(
        self, kind: StreamKind, first_seq: int, *, max_records: int, max_bytes: int
    ) -> Sequence[tuple[int, bytes]]:
        return self._spool.read(kind, first_seq, max_records=max_records, max_bytes=max_bytes)

    def acknowledge(self, kind: StreamKind, upto: int) -> None:
        self._spool.acknowledge(kind, upto)

    def renew_stream(self, kind: StreamKind, new_id: str) -> int:
        return self._spool.renew_stream(kind, new_id)

    def fill(self) -> Fill:
        return self._spool.fill()

    def fact(self, name: str) -> str | None:
        return self._spool.fact(name)

    def facts(self, prefix: str) -> dict[str, str]:
        return self._spool.facts(prefix)

    def journal(self) -> dict[str, bytes]:
        return self._spool.journal()

    def _guarded_facts(self) -> dict[str, str]:
        return {name: value for name, value in self._spool.facts("").items() if _is_guarded(name)}

    def _keep(self, generation: int, facts: Mapping[str, str]) -> None:
        self._spool.remember({**facts, GENERATION: str(generation)})
        self._guard.keep(generation, facts)


def _is_guarded(name: str) -> bool:
    return name in _NAMES or name.startswith(_PREFIXES)


def _higher(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Of each name what is further on. The chain of policies goes with the version that it leads to."""
    merged = {name: _later(name, one.get(name), other.get(name)) for name in {*one, *other}}
    has_newer = int(other.get(trust.VERSION, 0)) > int(one.get(trust.VERSION, 0))
    chain = (other if has_newer else one).get(trust.CHAIN)
    if chain is not None:
        merged[trust.CHAIN] = chain
    return merged


def _later(name: str, one: str | None, other: str | None) -> str:
    if name.startswith(COUNTERS):
        # Which of those below were taken is not certain any more: then all of them.
        highest = max(ReplayWindow.from_text(one).highest, ReplayWindow.from_text(other).highest)
        return ReplayWindow.all_used(highest).to_text()
    if one is None or other is None:
        return one or other or ""
    if name.startswith(CONSENT_FACT):
        return Budget.from_text(one).merged(Budget.from_text(other)).to_text()
    if name == trust.STOP:
        pairs = zip(one.split("/"), other.split("/"), strict=True)
        return "/".join(str(max(int(mine), int(theirs))) for mine, theirs in pairs)
    if name == trust.CHAIN:
        return one
    if name == FLOOR:
        return max(Floor.from_text(one), Floor.from_text(other)).to_text()
    return max(one, other, key=lambda text: int(text.partition("@")[0]))


def _body(generation: int, facts: Mapping[str, str]) -> bytes:
    return msgspec.json.encode([generation, facts], order="deterministic")


def _read(path: Path) -> _Slot | None:
    """None for a slot that is missing, torn or not ours."""
    try:
        slot = msgspec.json.decode(path.read_bytes(), type=_Slot)
    except (OSError, *UNREADABLE):
        return None
    return slot if hashlib.sha256(_body(slot.generation, slot.facts)).hexdigest() == slot.sha256 else None
