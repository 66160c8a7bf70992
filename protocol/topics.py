"""Topic names, made and taken apart in one place.

Invariant: ``parse_up(up(link, kind)) == UpTopic(link, kind)`` for every link id, and no other text parses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from protocol.identifiers import LinkId, is_identifier

PREFIX = "fleet/v1"
# Ids of new events, after the commit, for the event streams of every API process. Devices have no right on it.
EVENTS = "svc/v1/events"
# That somebody watches a link: from API processes to ingest, which alone may ask a device for live mode.
WATCH = "svc/v1/watch"
# What every API process hears of devices. Links write it only while somebody watches them.
LIVE_FILTER = f"{PREFIX}/+/up/live"


class Up(StrEnum):
    HELLO = "hello"
    CAPABILITIES = "capabilities"
    URGENT = "urgent"
    BULK = "bulk"
    LIVE = "live"
    PRESENCE = "presence"


class Down(StrEnum):
    WELCOME = "welcome"
    ACK = "ack"
    COMMAND = "command"
    FLOW = "flow"
    TRUST = "trust"


@dataclass(frozen=True, slots=True)
class UpTopic:
    link: LinkId
    kind: Up


def up(link: LinkId, kind: Up) -> str:
    return f"{PREFIX}/{link}/up/{kind}"


def down(link: LinkId, kind: Down) -> str:
    return f"{PREFIX}/{link}/down/{kind}"


def down_filter(link: LinkId) -> str:
    return f"{PREFIX}/{link}/down/#"


def shared_up_filter(group: str, kind: Up) -> str:
    """The ingest workers' subscription. ``group`` is a secret: who knows it can make messages vanish."""
    return f"$share/{group}/{PREFIX}/+/up/{kind}"


def shared_watch_filter(group: str) -> str:
    """Each request reaches one of the ingest workers."""
    return f"$share/{group}/{WATCH}"


def parse_up(topic: str) -> UpTopic | None:
    parts = topic.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != PREFIX or parts[3] != "up" or not is_identifier(parts[2]):
        return None
    try:
        return UpTopic(LinkId(parts[2]), Up(parts[4]))
    except ValueError:
        return None


def parse_down(topic: str) -> Down | None:
    parts = topic.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != PREFIX or parts[3] != "down":
        return None
    try:
        return Down(parts[4])
    except ValueError:
        return None
