"""Links that send more than they may: whom to slow down, and what people are told of it.

Rules: a link is asked to slow down at most once in ``SPACING_S``, and gets its usual pace back when nothing of it was
dropped for ``CALM_S``. The timeline shows one entry a link and hour, whichever worker met it.

Invariant: at most ``MAX_REMEMBERED`` links are remembered; beyond that they are dropped from as before, and not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlmodel import Session

from fleet_server.ingest.directory import KnownLink
from fleet_server.timeline.models import Event
from fleet_server.timeline.writer import NewEvent, append_events

OVER_QUOTA = "agent.OVER_QUOTA"
SPACING_S = 60.0
CALM_S = 60.0
TOLD_EVERY = timedelta(hours=1)
MAX_REMEMBERED = 1000
_EVENT = Event.__table__  # type: ignore[attr-defined]  # SQLModel tables have it


@dataclass(slots=True)
class _Overuser:
    dropped_s: float
    slowed_s: float = float("-inf")
    told_s: float = float("-inf")
    dropped: int = 0  # since it was last told


@dataclass(frozen=True, slots=True)
class Due:
    """``to_tell``: how many messages were dropped, by link."""

    to_slow: list[str] = field(default_factory=list)
    to_release: list[str] = field(default_factory=list)
    to_tell: dict[str, int] = field(default_factory=dict)


class Overuse:
    def __init__(self) -> None:
        self._links: dict[str, _Overuser] = {}

    def note(self, dropped: Mapping[str, int], now_s: float) -> None:
        for link, count in dropped.items():
            if link in self._links or len(self._links) < MAX_REMEMBERED:
                one = self._links.setdefault(link, _Overuser(now_s))
                one.dropped_s = now_s
                one.dropped += count

    def due(self, now_s: float) -> Due:
        """What is to be done now; changes nothing until `done`."""
        due = Due()
        for link, one in self._links.items():
            if now_s - one.dropped_s > CALM_S:
                due.to_release.append(link)
            elif now_s - one.slowed_s > SPACING_S:
                due.to_slow.append(link)
            if one.dropped and now_s - one.told_s > TOLD_EVERY.total_seconds():
                due.to_tell[link] = one.dropped
        return due

    def done(self, due: Due, now_s: float) -> None:
        for link in due.to_slow:
            self._links[link].slowed_s = now_s
        for link in due.to_tell:
            self._links[link].told_s, self._links[link].dropped = now_s, 0
        for link in due.to_release:
            self._links.pop(link, None)

    @property
    def is_empty(self) -> bool:
        return not self._links


def tell(session: Session, links: Iterable[KnownLink], dropped: Mapping[str, int], now: datetime) -> list[int]:
    """The ids of new entries in the timelines of those that have none of the last hour."""
    wanted = {link.id: link for link in links if link.id in dropped}
    if not wanted:
        return []
    recent = session.execute(
        select(_EVENT.c.device_id, _EVENT.c.data).where(
            _EVENT.c.device_id.in_(sorted(wanted)), _EVENT.c.type == "security", _EVENT.c.at > now - TOLD_EVERY
        )
    ).all()
    told = {device for device, data in recent if data.get("code") == OVER_QUOTA}
    of_tenant: dict[str, list[NewEvent]] = {}
    for id_, link in sorted(wanted.items()):
        if id_ not in told:
            data = {"code": OVER_QUOTA, "detail": f"{dropped[id_]} messages were put off"}
            of_tenant.setdefault(link.tenant_id, []).append(NewEvent(id_, "security", now, data))
    return [id_ for tenant, events in sorted(of_tenant.items()) for id_ in append_events(session, tenant, events, now)]
