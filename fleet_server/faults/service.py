"""Reading faults: what is open on a device, and what was. Raising and clearing come through the device door."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from fleet_server.faults.models import Fault
from fleet_server.faults.repository import FaultFilters, FaultRepository
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.kit.times import from_us, to_us
from protocol.flapping import FLAP_WINDOW_S, FLAPS

MAX_OPEN = 500
MAX_DEVICES = 2000
MAX_OF_PERIOD = 50
# A fault that began this long before a period and ended in it belongs to the period too.
_BEFORE = timedelta(days=1)


class FaultService:
    def __init__(self, faults: FaultRepository) -> None:
        self._faults = faults

    def open_of(self, device_id: str) -> Sequence[Fault]:
        """Newest first. Whether the device exists is asked of its own service."""
        return self._faults.open_of([device_id], MAX_OPEN)

    def flapping(self, device_id: str, now: datetime) -> dict[str, int]:
        """Codes that come and go (`protocol.flapping`), and how often they were raised within its window."""
        return self._faults.raised_often(device_id, now - timedelta(seconds=FLAP_WINDOW_S), FLAPS)

    def open_of_all(self, device_ids: Collection[str]) -> dict[str, list[Fault]]:
        """For a page of devices, in one query."""
        found: dict[str, list[Fault]] = {device_id: [] for device_id in device_ids}
        for fault in self._faults.open_of(device_ids, MAX_OPEN):
            found[fault.device_id].append(fault)
        return found

    def of_period(self, device_id: str, begin: datetime, end: datetime) -> Sequence[Fault]:
        """What was open at some time from ``begin`` to ``end``, newest first, at most `MAX_OF_PERIOD`. What was raised
        more than a day before is found only while it is still open.
        """
        raised = self._faults.raised_between(device_id, begin - _BEFORE, end, MAX_OF_PERIOD)
        still_open = [fault for fault in self.open_of(device_id) if fault.raised_at < end]
        found = {fault.id: fault for fault in [*raised, *still_open]}
        in_period = [fault for fault in found.values() if fault.cleared_at is None or fault.cleared_at >= begin]
        return sorted(in_period, key=lambda fault: fault.raised_at, reverse=True)[:MAX_OF_PERIOD]

    def devices_with(self, code: str) -> frozenset[str]:
        """Ids of devices on which ``code`` is open, at most `MAX_DEVICES`."""
        return frozenset(self._faults.devices_with(code, MAX_DEVICES))

    def list(self, filters: FaultFilters, cursor: str | None, limit: int) -> Page[Fault]:
        """Newest first."""
        rows = self._faults.newest_first(filters, None if cursor is None else _before(cursor), limit + 1)
        items = rows[:limit]
        last = items[-1] if len(rows) > limit else None
        return Page(items, None if last is None else encode_cursor(to_us(last.raised_at), last.id))


def _before(cursor: str) -> tuple[datetime, str]:
    raised_us, fault_id = decode_cursor(cursor, 2)
    if not isinstance(raised_us, int) or not isinstance(fault_id, str):
        raise CursorInvalid("cursor is not one of the list of faults")
    return from_us(raised_us), fault_id
