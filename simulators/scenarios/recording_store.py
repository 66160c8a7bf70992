"""The agent's spool for a run that nobody will resume: records go straight to whoever listens, facts stay in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from device_agent.core.ports import Fill
from device_agent.core.records import Changes
from protocol import codec
from protocol.errors import Malformed
from protocol.records import Record
from protocol.session import StreamPosition
from protocol.streams import StreamKind
from simulators.errors import SimulatorError


class RecordUnreadable(SimulatorError):
    """The agent made a record that its own protocol does not know: a bug of this version."""

    code = "record_unreadable"


class RecordingStore:
    """A `device_agent.core.ports.Store` in which every record counts as delivered."""

    def __init__(self, take: Callable[[Record], None]) -> None:
        self._take = take
        self._facts: dict[str, str] = {}
        self._positions = {
            kind: StreamPosition(f"{number:032x}", kind, last=0, oldest_held=0, acked=0)
            for number, kind in enumerate(StreamKind, 1)
        }

    def positions(self) -> dict[StreamKind, StreamPosition]:
        return self._positions

    def commit(self, changes: Changes, at_ms: int) -> bool:  # noqa: ARG002 - kept for no time at all
        for one in changes.records:
            record = codec.from_json(one.payload, Record)
            if isinstance(record, Malformed):
                raise RecordUnreadable(f"expected a record of the agent, came other bytes: {record.detail}")
            self._take(record)
        for name, value in changes.facts.items():
            if value is None:
                self._facts.pop(name, None)
            else:
                self._facts[name] = value
        return False

    def read(
        self,
        kind: StreamKind,  # noqa: ARG002 - nothing is held
        first_seq: int,  # noqa: ARG002 - as above
        *,
        max_records: int,  # noqa: ARG002 - as above
        max_bytes: int,  # noqa: ARG002 - as above
    ) -> Sequence[tuple[int, bytes]]:
        return ()

    def acknowledge(self, kind: StreamKind, upto: int) -> None:
        """There is nobody who would."""

    def renew_stream(self, kind: StreamKind, new_id: str) -> int:  # noqa: ARG002 - nothing to move
        return 0

    def fill(self) -> Fill:
        return Fill(0, 1, None)

    def fact(self, name: str) -> str | None:
        return self._facts.get(name)

    def facts(self, prefix: str) -> dict[str, str]:
        return {name: value for name, value in self._facts.items() if name.startswith(prefix)}

    def journal(self) -> dict[str, bytes]:
        return {}
