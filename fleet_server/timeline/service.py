"""Reading the timeline: pages of what happened to a device, and all that an execution made happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from sqlmodel import Session

from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.kit.times import from_us, to_us
from fleet_server.timeline.models import Event
from fleet_server.timeline.repository import TimelineRepository, newest_event

# An execution makes a few events a step; a device that reports more than this is not believed to be of use.
MAX_EXECUTION_EVENTS = 2000
# More than a person reads; the page says so where there are more.
MAX_GAPS_COUNTED = 100


class TimelineService:
    def __init__(self, timeline: TimelineRepository) -> None:
        self._timeline = timeline

    def page(self, device_id: str, types: Collection[str], cursor: str | None, limit: int) -> Page[Event]:
        """Newest first. Whether the device exists is asked of its own service."""
        rows = self._timeline.newest_first(device_id, types, None if cursor is None else _before(cursor), limit + 1)
        items = rows[:limit]
        last = items[-1] if len(rows) > limit else None
        return Page(items, None if last is None else encode_cursor(to_us(last.at), last.id))

    def of_execution(self, execution_id: str, after_id: int = 0) -> list[Event]:
        """In the order in which they were recorded, at most `MAX_EXECUTION_EVENTS`."""
        return self._timeline.of_execution(execution_id, after_id, MAX_EXECUTION_EVENTS)

    def gap_states(self, device_id: str) -> Counter[str]:
        """How often the timeline tells of a gap as open, filled or declared: of its newest `MAX_GAPS_COUNTED`."""
        rows = self._timeline.newest_first(device_id, ["gap"], None, MAX_GAPS_COUNTED)
        return Counter(str(row.data.get("state", "")) for row in rows)

    def newest_id(self) -> int:
        """Where a stream that wants only what is new begins."""
        return self._timeline.newest_id()


def newest_received_at(session: Session) -> datetime | None:
    """What the server's clock said when it last recorded anything, of whichever tenant."""
    newest = newest_event(session)
    return None if newest is None else newest[1]


def _before(cursor: str) -> tuple[datetime, int]:
    at_us, event_id = decode_cursor(cursor, 2)
    if not isinstance(at_us, int) or not isinstance(event_id, int):
        raise CursorInvalid("cursor is not one of a timeline")
    return from_us(at_us), event_id
