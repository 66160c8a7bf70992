"""Which links are enrolled and which devices each may speak for, remembered between flushes.

Invariant: both memories are bounded, and an answer is at most ``FRESH_S`` old: an enrolment or a retirement is seen
without a restart, and nothing is asked of the database for each message.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlmodel import Session

from fleet_server.devices.models import Device

FRESH_S = 30.0
MAX_LINKS = 20_000
MAX_STRANGERS = 10_000


@dataclass(frozen=True, slots=True)
class KnownDevice:
    id: str
    kind: str
    line: str | None
    terminal_class: str


@dataclass(frozen=True, slots=True)
class KnownLink:
    """A link with what its records need: its devices, its pace, and how its clocks stand to ours."""

    id: str
    tenant_id: str
    boot: str
    clock_offset_ms: int | None
    mono_offset_ms: int | None
    report_s: float
    keepalive_s: float
    loaded_s: float
    devices: Mapping[str, KnownDevice] = field(default_factory=dict)
    profile: str = ""  # empty before its first hello


class Directory:
    def __init__(self) -> None:
        self._links: OrderedDict[str, KnownLink] = OrderedDict()
        self._strangers: OrderedDict[str, float] = OrderedDict()

    def find(self, session: Session, link_ids: Iterable[str], now_s: float) -> dict[str, KnownLink]:
        """The enrolled ones among ``link_ids``. ``now_s`` is monotonic."""
        wanted = set(link_ids)
        found = {id_: link for id_ in wanted if (link := self._fresh(id_, now_s)) is not None}
        missing = {id_ for id_ in wanted - found.keys() if not self._is_stranger(id_, now_s)}
        if missing:
            loaded = _load(session, missing, now_s)
            found |= loaded
            self._remember(loaded, missing - loaded.keys(), now_s)
        return found

    def tenant_of(self, link_id: str) -> str:
        """As far as it is remembered, else empty; whose messages it is about is for `find` to say."""
        link = self._links.get(link_id)
        return "" if link is None else link.tenant_id

    def forget(self, link_ids: Iterable[str]) -> None:
        """After a hello was committed, or when a record tells of a boot that is not the one remembered."""
        for id_ in link_ids:
            self._links.pop(id_, None)
            self._strangers.pop(id_, None)

    def _fresh(self, link_id: str, now_s: float) -> KnownLink | None:
        link = self._links.get(link_id)
        if link is None or now_s - link.loaded_s > FRESH_S:
            return None
        self._links.move_to_end(link_id)
        return link

    def _is_stranger(self, link_id: str, now_s: float) -> bool:
        seen_s = self._strangers.get(link_id)
        return seen_s is not None and now_s - seen_s <= FRESH_S

    def _remember(self, loaded: Mapping[str, KnownLink], strangers: Iterable[str], now_s: float) -> None:
        self._links.update(loaded)
        for id_ in strangers:
            self._strangers[id_] = now_s
            self._strangers.move_to_end(id_)
        while len(self._links) > MAX_LINKS:
            self._links.popitem(last=False)
        while len(self._strangers) > MAX_STRANGERS:
            self._strangers.popitem(last=False)


def _load(session: Session, link_ids: set[str], now_s: float) -> dict[str, KnownLink]:
    table = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
    rows = session.execute(
        select(table).where(table.c.link_id.in_(sorted(link_ids)), table.c.retired_at.is_(None))
    ).mappings()
    devices: dict[str, dict[str, KnownDevice]] = {}
    links: dict[str, KnownLink] = {}
    for row in rows:
        of_link = devices.setdefault(row["link_id"], {})
        of_link[row["id"]] = KnownDevice(row["id"], row["kind"], row["line"], row["terminal_class"])
        if row["id"] == row["link_id"]:
            links[row["id"]] = KnownLink(
                row["id"],
                row["tenant_id"],
                row["boot"],
                row["clock_offset_ms"],
                row["mono_offset_ms"],
                row["report_s"],
                row["keepalive_s"],
                now_s,
                of_link,
                row["profile"],
            )
    return links
