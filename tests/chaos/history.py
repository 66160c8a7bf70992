"""An agent's own account of what it did, one JSON line each, written before the spool is asked to keep anything.

    intends N [[stream kind, mark], ...]    a commit is about to be asked for
    done N {kind: [stream, last, shed]}     it returned: from here on every record of it is a promise
    failed N                                it was refused; nothing of it may have been kept
    declares MARK                           the spool declares a loss by a record of its own, which may be kept or not
    acked KIND STREAM UPTO                  the server's word, as the agent took it
    renewed KIND                            the stream was given up for another: numbers begin anew
    fed                                     the last record of the run was handed over

What write(2) returned from survives kill -9. A line that a kill cut off was not followed by its commit.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import msgspec


class Standing(Enum):
    """``INTENDED``: the process ended in between, so that the record may have been kept or not."""

    INTENDED = "intended"
    KEPT = "kept"
    REFUSED = "refused"


@dataclass(slots=True)
class Intent:
    """One record. ``stream`` and ``seq`` are known once it is kept, and only to find its place in a declared gap."""

    kind: str
    mark: str
    standing: Standing = Standing.INTENDED
    stream: str = ""
    seq: int = 0


@dataclass(slots=True)
class Place:
    """How far a stream of the agent is, by the agent's own word."""

    stream: str
    last: int = 0
    shed: int = 0
    acked: int = 0


@dataclass(slots=True)
class History:
    link: str
    intents: list[Intent] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    starts: int = 0
    is_fed: bool = False
    torn_lines: int = 0

    @property
    def is_drained(self) -> bool:
        return self.is_fed and self.has_heard_of(self)

    def has_heard_of(self, before: History) -> bool:
        """Whether by now all that there was ``before`` is acknowledged."""
        return all(
            (now := self.places.get(kind)) is not None and (now.stream != place.stream or now.acked >= place.last)
            for kind, place in before.places.items()
        )

    def snapshot(self) -> History:
        """What it says now; the reader goes on with the original."""
        return copy.deepcopy(self)

    def acked(self) -> dict[str, int]:
        """By stream."""
        return {place.stream: place.acked for place in self.places.values()}

    def shed(self) -> int:
        return sum(place.shed for place in self.places.values())


class Journal:
    """The writing side, in the agent's process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # A line that was cut off stays alone.
        os.write(self._file, b"\n")
        self.write("starts")

    def write(self, what: str, *details: object) -> None:
        os.write(self._file, msgspec.json.encode([what, *details]) + b"\n")


class HistoryReader:
    """The reading side: each call of ``read`` goes on where the last one ended."""

    def __init__(self, link: str, path: Path) -> None:
        self.history = History(link)
        self._path = path
        self._offset = 0
        self._open: dict[int, list[Intent]] = {}

    def read(self) -> History:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole = file.read().rpartition(b"\n")[0]
            self._offset += len(whole) + 1 if whole else 0
            for line in whole.split(b"\n"):
                if line:
                    self._take(line)
        return self.history

    def _take(self, line: bytes) -> None:
        try:
            what, *details = msgspec.json.decode(line)
        except msgspec.DecodeError:
            self.history.torn_lines += 1
            return
        match what, details:
            case "intends", [number, records]:
                self._open[number] = [Intent(kind, mark) for kind, mark in records]
                self.history.intents += self._open[number]
            case "done", [number, places]:
                self._done(self._open.pop(number, []), places)
            case "failed", [number]:
                for intent in self._open.pop(number, []):
                    intent.standing = Standing.REFUSED
            case "declares", [mark]:
                self.history.declared.append(mark)
            case "acked", [kind, stream, upto]:
                self._place(kind, stream).acked = upto
            case "renewed", [kind]:
                self.history.places.pop(kind, None)
            case "fed", []:
                self.history.is_fed = True
            case "starts", []:
                self.history.starts += 1
                self._open.clear()

    def _done(self, intents: list[Intent], places: dict[str, list[str | int]]) -> None:
        behind: dict[str, int] = {}
        for intent in reversed(intents):
            stream, last, _ = places[intent.kind]
            intent.standing, intent.stream = Standing.KEPT, str(stream)
            intent.seq = int(last) - behind.get(intent.kind, 0)
            behind[intent.kind] = behind.get(intent.kind, 0) + 1
        for kind, (stream, last, shed) in places.items():
            place = self._place(kind, str(stream))
            place.last, place.shed = int(last), int(shed)

    def _place(self, kind: str, stream: str) -> Place:
        place = self.history.places.get(kind)
        if place is None or place.stream != stream:
            place = self.history.places[kind] = Place(stream)
        return place
