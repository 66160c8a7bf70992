"""Which links are enrolled and which devices each may speak for, remembered between flushes.

A link's own row is read again each ``FRESH_S``; what hangs on it only when its number or its newest enrolment has
changed, or when the link speaks of a device that is not known: a gateway may have hundreds.

Invariant: all memories are bounded, and an answer is at most ``FRESH_S`` old: an enrolment or a retirement is seen
without a restart, and nothing is asked of the database for each message.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from sys import intern

from sqlalchemy import bindparam, func, select
from sqlmodel import Session

from fleet_server.devices.models import Device

FRESH_S = 30.0
# How soon a link is looked at again that speaks of a device it is not known to have.
LOOK_AGAIN_S = 2.0
MAX_LINKS = 20_000
MAX_STRANGERS = 10_000
# Of all links together; 200 bytes each.
MAX_DEVICES = 250_000
_DEVICE = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_BEHIND = _DEVICE.alias("behind")


@dataclass(frozen=True, slots=True)
class KnownLink:
    """A link with what its records need: its devices with their classes, its pace, and how its clocks stand to ours."""

    id: str
    tenant_id: str
    boot: str
    clock_offset_ms: int | None
    mono_offset_ms: int | None
    report_s: float
    keepalive_s: float
    profile: str  # empty before its first hello
    mark: tuple[int, datetime | None]  # changes when what hangs on it does
    loaded_s: float
    devices: Mapping[str, str] = field(default_factory=dict)

    def set_right(self, mono_offset_ms: int) -> KnownLink:
        """With clocks that stand so to ours, whatever its hello seemed to say."""
        if self.mono_offset_ms is None or self.clock_offset_ms is None:
            return self
        late_ms = self.mono_offset_ms - mono_offset_ms
        return replace(self, mono_offset_ms=mono_offset_ms, clock_offset_ms=self.clock_offset_ms + late_ms)


class Directory:
    def __init__(self, fresh_s: float = FRESH_S) -> None:
        self._fresh_s = fresh_s
        self._links: OrderedDict[str, KnownLink] = OrderedDict()
        self._strangers: OrderedDict[str, float] = OrderedDict()
        self._devices = 0  # of all links that are remembered

    def find(self, session: Session, link_ids: Iterable[str], now_s: float) -> dict[str, KnownLink]:
        """The enrolled ones among ``link_ids``. ``now_s`` is monotonic."""
        wanted = set(link_ids)
        found = {id_: link for id_ in wanted if (link := self._fresh(id_, now_s)) is not None}
        missing = {id_ for id_ in wanted - found.keys() if not self._is_stranger(id_, now_s)}
        if missing:
            loaded = self._load(session, missing, now_s)
            found |= loaded
            self._remember(loaded, missing - loaded.keys(), now_s)
        return found

    def look_again(
        self, session: Session, found: Mapping[str, KnownLink], link_ids: Iterable[str], now_s: float
    ) -> dict[str, KnownLink]:
        """Those of ``link_ids`` that were not read just now, read anew with all that hangs on them."""
        stale = {id_ for id_ in link_ids if now_s - found[id_].loaded_s > LOOK_AGAIN_S}
        if not stale:
            return {}
        self.forget(stale)
        return self.find(session, stale, now_s)

    def tenant_of(self, link_id: str) -> str:
        """As far as it is remembered, else empty; whose messages it is about is for `find` to say."""
        link = self._links.get(link_id)
        return "" if link is None else link.tenant_id

    def forget(self, link_ids: Iterable[str]) -> None:
        """After a hello was committed, or when a record tells of a boot that is not the one remembered."""
        for id_ in link_ids:
            self._drop(id_)
            self._strangers.pop(id_, None)

    def _fresh(self, link_id: str, now_s: float) -> KnownLink | None:
        link = self._links.get(link_id)
        if link is None or now_s - link.loaded_s > self._fresh_s:
            return None
        self._links.move_to_end(link_id)
        return link

    def _is_stranger(self, link_id: str, now_s: float) -> bool:
        seen_s = self._strangers.get(link_id)
        return seen_s is not None and now_s - seen_s <= self._fresh_s

    def _load(self, session: Session, link_ids: Collection[str], now_s: float) -> dict[str, KnownLink]:
        rows = session.connection().execute(_LINKS, {"ids": sorted(link_ids)}).all()
        known = {id_: self._links[id_] for id_ in link_ids if id_ in self._links}
        marks = {row[0]: (count, newest) for *row, count, newest in rows}
        changed = [id_ for id_, mark in marks.items() if id_ not in known or known[id_].mark != mark]
        devices: dict[str, dict[str, str]] = {id_: {} for id_ in changed}
        if changed:
            for link_id, id_, of_class in session.connection().execute(_DEVICES, {"ids": sorted(changed)}):
                devices[link_id][id_] = intern(of_class)
        links = {}
        for id_, tenant_id, boot, clock_ms, mono_ms, report_s, keepalive_s, profile, *mark in rows:
            behind = devices[id_] if id_ in devices else known[id_].devices
            pace, clocks = (report_s, keepalive_s, profile), (clock_ms, mono_ms)
            links[id_] = KnownLink(id_, tenant_id, boot, *clocks, *pace, (mark[0], mark[1]), now_s, behind)
        return links

    def _remember(self, loaded: Mapping[str, KnownLink], strangers: Iterable[str], now_s: float) -> None:
        for link in loaded.values():
            self._drop(link.id)
            self._links[link.id] = link
            self._devices += len(link.devices)
        for id_ in strangers:
            self._drop(id_)
            self._strangers[id_] = now_s
            self._strangers.move_to_end(id_)
        while self._links and (len(self._links) > MAX_LINKS or self._devices > MAX_DEVICES):
            self._drop(next(iter(self._links)))
        while len(self._strangers) > MAX_STRANGERS:
            self._strangers.popitem(last=False)

    def _drop(self, link_id: str) -> None:
        link = self._links.pop(link_id, None)
        if link is not None:
            self._devices -= len(link.devices)


_LINKS = (
    select(
        *(_DEVICE.c[name] for name in ("id", "tenant_id", "boot", "clock_offset_ms", "mono_offset_ms")),
        *(_DEVICE.c[name] for name in ("report_s", "keepalive_s", "profile")),
        func.count(_BEHIND.c.id),
        func.max(_BEHIND.c.enrolled_at),
    )
    .join(_BEHIND, (_BEHIND.c.link_id == _DEVICE.c.id) & _BEHIND.c.retired_at.is_(None))
    .where(
        _DEVICE.c.id.in_(bindparam("ids", expanding=True)),
        _DEVICE.c.link_id == _DEVICE.c.id,
        _DEVICE.c.retired_at.is_(None),
    )
    .group_by(_DEVICE.c.id)
)
_DEVICES = select(_DEVICE.c.link_id, _DEVICE.c.id, _DEVICE.c.terminal_class).where(
    _DEVICE.c.link_id.in_(bindparam("ids", expanding=True)), _DEVICE.c.retired_at.is_(None)
)
