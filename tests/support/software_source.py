"""The server's door of software without a network: a tenant's store, given as it is or as an attacker would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from device_agent.software.errors import SoftwareUnreachable
from device_agent.software.parts import Answer
from fleet_server.artifacts.errors import ArtifactNotFound
from fleet_server.artifacts.store import Store
from protocol.artifacts import METADATA_PATH, TARGETS_PATH

PIECE = 1000


def unchanged(_path: str, content: bytes) -> bytes:
    return content


@dataclass
class StoreSource:
    """``twist``: what is given instead, by path. ``cut_after``: bytes of a target, then the line is dead."""

    store: Store
    twist: Callable[[str, bytes], bytes] = unchanged
    cut_after: int | None = None
    knows_ranges: bool = True
    asked: list[tuple[str, int]] = field(default_factory=list)
    given_bytes: int = 0

    @contextmanager
    def fetch(self, path: str, offset: int) -> Iterator[Answer]:
        self.asked.append((path, offset))
        try:
            file = (
                self.store.metadata_file(path.removeprefix(METADATA_PATH))
                if path.startswith(METADATA_PATH)
                else self.store.target_file(path.removeprefix(TARGETS_PATH))
            )
        except ArtifactNotFound:
            yield Answer(404, 0, iter(()))
            return
        content = self.twist(path, file.read_bytes())
        begin = offset if self.knows_ranges else 0
        yield Answer(206 if begin else 200, begin, self._pieces(path, content[begin:]))

    def _pieces(self, path: str, content: bytes) -> Iterator[bytes]:
        given = 0
        for at in range(0, len(content), PIECE):
            if path.startswith(TARGETS_PATH) and self.cut_after is not None and given >= self.cut_after:
                raise SoftwareUnreachable("the line is dead")
            piece = content[at : at + PIECE]
            given += len(piece)
            self.given_bytes += len(piece)
            yield piece
