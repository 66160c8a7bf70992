"""Fetches what is wanted and says what is in hand. One for all devices of this link: what two of them need comes once.

A thread of its own, begun with the first wish, for it asks over the network and loads python-tuf. Wishes are on disk:
an agent that was killed goes on where it stopped. Between tries it waits, longer each time. With each look at the
repository, files that it no longer offers are forgotten.

Invariants: under ``targets`` lies only what was judged whole; room and data of a day have a bound.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from device_agent.adapters.held_targets import HeldTargets
from device_agent.core.ports import Dice
from device_agent.errors import AgentError
from device_agent.software.errors import BudgetSpent, SoftwareNotOffered
from device_agent.software.floors import Floors
from device_agent.software.parts import Parts, Source
from device_agent.software.whole_files import put_in_place, read_json, write_whole
from protocol.artifacts import TargetFacts, is_target_path
from protocol.authorisations import Artifact

if TYPE_CHECKING:
    from device_agent.software.repository import Repository, Target

MAX_WISHES: Final = 16
RETRY_FIRST_S: Final = 15.0
RETRY_CAP_S: Final = 4 * 3600.0
DAY_MS: Final = 24 * 3600 * 1000
MIB: Final = 1024 * 1024
_log = logging.getLogger(__name__)


class InHand(msgspec.Struct, frozen=True):
    length: int
    sha256: str
    facts: TargetFacts
    fetched_ms: int


class _Spent(msgspec.Struct, frozen=True):
    since_ms: int = 0
    spent: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """``words``: what is in the way, or nothing."""

    have: int = 0
    length: int = 0
    words: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """In bytes; ``daily`` 0: no bound."""

    room: int
    daily: int


@dataclass(slots=True)
class _State:
    held: dict[str, InHand] = field(default_factory=dict)
    wishes: list[str] = field(default_factory=list)
    progress: dict[str, Progress] = field(default_factory=dict)


class SoftwareKeeper:
    """``pin``: the SHA-256 of the first root, as the policy in force names it. Methods may be called by any thread."""

    def __init__(
        self,
        folder: Path,
        guard: Path,
        source: Source,
        pin: Callable[[], str | None],
        now_ms: Callable[[], int],
        dice: Dice,
        bounds: Bounds,
    ) -> None:
        self._folder = folder
        self._guard = guard
        self._pin = pin
        self._now_ms = now_ms
        self._dice = dice
        self._bounds = bounds
        self._targets = HeldTargets(folder / "targets")
        self._lock = threading.Lock()
        self._woken, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._parts = Parts(folder / "parts", source, self._spend, self._said)
        self._fetching = ""
        self._spent = read_json(folder / "spent.json", _Spent, _Spent())
        self._state = _State(
            held=read_json(folder / "in_hand.json", dict[str, InHand], {}),
            wishes=[one for one in read_json(folder / "wishes.json", list[str], []) if is_target_path(one)],
        )

    def start(self) -> None:
        if self._state.wishes:
            self._begin()

    def stop(self) -> None:
        self._stop.set()
        self._woken.set()

    def want(self, path: str) -> None:
        """Fetched in the background, also after a restart. Raises ``SoftwareNotOffered`` when too much is wanted."""
        if not is_target_path(path):
            raise SoftwareNotOffered(f"{path[:80]!r} is no path of a repository")
        with self._lock:
            if path not in self._state.wishes:
                if len(self._state.wishes) >= MAX_WISHES:
                    raise SoftwareNotOffered(f"{MAX_WISHES} files are wanted already")
                self._state.wishes.append(path)
                self._keep_wishes()
            self._failures = 0
        self._begin()
        self._woken.set()

    def in_hand(self, path: str) -> InHand | None:
        """None while it is wanted anew: the repository may offer another by now."""
        with self._lock:
            return None if path in self._state.wishes else self._state.held.get(path)

    def known(self, path: str) -> InHand | None:
        """What lies here under this path, also while it is looked at again."""
        with self._lock:
            return self._state.held.get(path)

    def is_wanted(self, path: str) -> bool:
        """Whether it is still to be fetched, or to be looked at again."""
        with self._lock:
            return path in self._state.wishes

    def progress(self, path: str) -> Progress:
        with self._lock:
            return self._state.progress.get(path, Progress())

    def file(self, path: str) -> Path:
        return self._folder / "targets" / path

    def held(self, wanted: Artifact) -> Artifact | None:
        """As `device_agent.core.command_gate` asks: hashed now. What is not here is wanted from now on."""
        found = self._targets.held(wanted) if wanted.path in self._state.held else None
        if found != wanted:
            try:
                self.want(wanted.path)
            except SoftwareNotOffered as error:
                _log.warning("software is not fetched: %s", error)
        return found

    def standing(self) -> list[dict[str, object]]:
        """For whoever stands before the machine."""
        with self._lock:
            held = [
                {"path": path, "state": "in_hand", "version": one.facts.version, "bytes": one.length}
                for path, one in sorted(self._state.held.items())
            ]
            wanted = [
                {"path": path, "state": "wanted", "bytes": at.have, "of": at.length, "words": at.words}
                for path in self._state.wishes
                for at in [self._state.progress.get(path, Progress())]
            ]
        return held + wanted

    def look(self) -> None:
        """One try at everything that is wanted. Raises what stands in the way of the first."""
        pin = self._pin()
        if pin is None:
            raise SoftwareNotOffered("the policy names no repository of software for this tenant")
        repository = self._open(pin)
        offered = repository.offered()
        self._forget_what_is_not(offered)
        for path in list(self._state.wishes):
            target = offered.get(path)
            if target is None:
                self._give_up(path, "the repository offers no such file")
            elif not self._is_here(target):
                self._take(repository, target)
            else:
                self._is_had(target)

    def _open(self, pin: str) -> Repository:
        from device_agent.software.repository import Repository

        metadata = self._folder / "tuf" / pin[:16]
        for other in (self._folder / "tuf").glob("*"):
            if other != metadata:
                shutil.rmtree(other)
        floors = Floors(self._folder / "floors", self._guard)
        return Repository(metadata, pin, self._parts, floors, self._now_ms())

    def _take(self, repository: Repository, target: Target) -> None:
        self._make_room(target)
        self._fetching = target.path
        part = repository.download(target)
        put_in_place(part, self.file(target.path))
        self._is_had(target)

    def _is_had(self, target: Target) -> None:
        with self._lock:
            self._state.held[target.path] = InHand(target.length, target.sha256, target.facts, self._now_ms())
            self._state.wishes.remove(target.path)
            self._state.progress.pop(target.path, None)
            write_whole(self._folder / "in_hand.json", msgspec.json.encode(self._state.held))
            self._keep_wishes()
        _log.info("in hand: %s, %d bytes", target.path, target.length)

    def _is_here(self, target: Target) -> bool:
        wanted = Artifact(target.path, target.length, target.sha256)
        return self._targets.held(wanted) == wanted

    def _forget_what_is_not(self, offered: dict[str, Target]) -> None:
        gone = [path for path, one in self._state.held.items() if _sum(offered.get(path)) != one.sha256]
        wanted = {self._parts.place(one.sha256) for path, one in offered.items() if path in self._state.wishes}
        for part in self._parts.folder.glob("*"):
            if part not in wanted:
                part.unlink()
        for path in gone:
            self._drop(path)

    def _make_room(self, target: Target) -> None:
        """Raises ``BudgetSpent``."""
        if target.length > self._bounds.room:
            raise BudgetSpent(f"{target.path}: {target.length} bytes, room is for {self._bounds.room}")
        others = sorted((one.fetched_ms, path) for path, one in self._state.held.items() if path != target.path)
        while others and sum(self._state.held[path].length for _, path in others) + target.length > self._bounds.room:
            self._drop(others.pop(0)[1])

    def _drop(self, path: str) -> None:
        with self._lock:
            self._state.held.pop(path, None)
            write_whole(self._folder / "in_hand.json", msgspec.json.encode(self._state.held))
        self.file(path).unlink(missing_ok=True)

    def _give_up(self, path: str, words: str) -> None:
        with self._lock:
            self._state.wishes.remove(path)
            self._state.progress[path] = Progress(words=words)
            self._keep_wishes()

    def _keep_wishes(self) -> None:
        write_whole(self._folder / "wishes.json", msgspec.json.encode(self._state.wishes))

    def _spend(self, size: int) -> None:
        if self._stop.is_set():
            raise BudgetSpent("the agent stops")
        if not self._bounds.daily:
            return
        now_ms = self._now_ms()
        if now_ms - self._spent.since_ms >= DAY_MS:
            self._spent = _Spent(now_ms)
        if self._spent.spent + size > self._bounds.daily:
            raise BudgetSpent(f"{self._bounds.daily} bytes of software were fetched within a day")
        before = self._spent.spent // MIB
        self._spent = _Spent(self._spent.since_ms, self._spent.spent + size)
        if self._spent.spent // MIB != before:
            write_whole(self._folder / "spent.json", msgspec.json.encode(self._spent))

    def _said(self, have: int, length: int) -> None:
        with self._lock:
            self._state.progress[self._fetching] = Progress(have, length)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="software", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._woken.clear()
            wait_s: float | None = None
            if self._state.wishes:
                try:
                    self.look()
                except (AgentError, OSError, ValueError) as error:
                    _log.warning("software is not fetched: %s", error)
                    self._in_the_way(str(error)[:200])
                    wait_s = self._longer_s()
                else:
                    self._failures = 0
            self._woken.wait(wait_s)

    def _in_the_way(self, words: str) -> None:
        with self._lock:
            for path in self._state.wishes:
                at = self._state.progress.get(path, Progress())
                self._state.progress[path] = Progress(at.have, at.length, words)

    def _longer_s(self) -> float:
        ceiling_s: float = min(RETRY_CAP_S, RETRY_FIRST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        return ceiling_s * (0.5 + self._dice.uniform() / 2)


def _sum(target: Target | None) -> str:
    return "" if target is None else target.sha256
