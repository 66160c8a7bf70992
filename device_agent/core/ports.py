"""What the core needs of the outside, as it sees it: durable storage and numbers nobody can guess.

`Store.commit` is all or nothing and durable when it returns; the spool on disk and the store in memory of the tests
both keep this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from device_agent.core.records import Changes
from protocol.session import StreamPosition
from protocol.streams import StreamKind


@dataclass(frozen=True, slots=True)
class Dice:
    """``uniform`` gives a number in [0, 1); ``hex128`` gives 128 random bits in hexadecimal."""

    uniform: Callable[[], float]
    hex128: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Fill:
    """``oldest_ms``: when the oldest record was made that the server has not acknowledged; None when nothing waits or
    that is not known.
    """

    used_bytes: int
    quota_bytes: int
    oldest_ms: int | None


class Store(Protocol):
    def positions(self) -> dict[StreamKind, StreamPosition]: ...

    def commit(self, changes: Changes, at_ms: int) -> bool:
        """Numbers the records and writes everything. True when unacknowledged records had to be shed to make room."""

    def read(
        self, kind: StreamKind, first_seq: int, *, max_records: int, max_bytes: int
    ) -> Sequence[tuple[int, bytes]]:
        """A run without holes that begins at the first record held at or after ``first_seq``."""

    def acknowledge(self, kind: StreamKind, upto: int) -> None:
        """Remembers what the server has. A lower ``upto`` than before is kept too: the server was set back."""

    def renew_stream(self, kind: StreamKind, new_id: str) -> int:
        """Moves what is held to a stream of its own, numbered from 1; answers how many records moved."""

    def fill(self) -> Fill: ...

    def fact(self, name: str) -> str | None: ...

    def facts(self, prefix: str) -> dict[str, str]: ...

    def journal(self) -> dict[str, bytes]:
        """Execution id to row, oldest first."""
