"""Whether a fault that a fix had mended comes back after it was proved gone.

A fix is for those faults which it can cure and which the device had, or its pre-check told, when it began. For
`WATCHED_FOR` after its end they are watched for: nothing more is asked of the device, the faults that its looks and its
log raise anyway are held against the rows of the journal, so that a restart forgets none.

Invariants: of a fix a return is told at most once; what was seen while something else changed the device is no return,
since a restart may well look like a fault.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from device_agent.actions import Definition
from device_agent.core.fault_tracker import RETELL_S
from device_agent.core.journal import Row
from protocol.executions import WATCHED_FOR
from protocol.identifiers import DeviceId, ExecutionId
from protocol.records import FaultRaised

# What is told of a fault later than this happened since: repeats are told within a minute.
_TOLD_LATE_MS: Final = int(RETELL_S * 1000)
_WATCHED_FOR_MS: Final = WATCHED_FOR.total_seconds() * 1000


def treated(fix: Definition, *codes: Collection[str]) -> list[str]:
    return sorted(set(fix.declared.cures).intersection(code for part in codes for code in part))


class Relapses:
    """The finished fixes whose faults are still watched for."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._watched: dict[ExecutionId, Row] = {}
        for row in rows:
            self.note(row)

    def note(self, row: Row) -> None:
        """A row as it stands now."""
        if row.proved_ms is not None and row.treated and row.is_final:
            self._watched[row.execution] = row
        else:
            self._watched.pop(row.execution, None)

    def by(self, device: DeviceId, raised: FaultRaised, trusted_ms: int) -> list[Row]:
        """The fixes of which it shows that they did not last."""
        over = [one for one, row in self._watched.items() if trusted_ms - (row.proved_ms or 0) > _WATCHED_FOR_MS]
        for one in over:
            del self._watched[one]
        return [row for row in self._watched.values() if row.device == device and _is_return(row, raised, trusted_ms)]


def _is_return(row: Row, raised: FaultRaised, trusted_ms: int) -> bool:
    is_new = raised.count == 1 or trusted_ms - (row.proved_ms or 0) > _TOLD_LATE_MS
    return raised.code in row.treated and is_new
