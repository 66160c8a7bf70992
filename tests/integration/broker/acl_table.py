"""Who may do what, as the protocol's document and the table of services say it: written down here a second time on
purpose, so that a slip in the generator is not a slip in what is expected of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

VICTIM = "d-victim000001"
UP = ("hello", "capabilities", "urgent", "bulk", "live", "presence", "probe/1")
DOWN = ("welcome", "ack", "command", "flow", "probe/1")


class Role(Enum):
    LINK = "link"
    INGEST = "ingest"
    API = "api"
    SCHEDULER = "scheduler"
    PROBE = "probe"
    NOBODY = "nobody"  # connects, as its name is none of ours, and may do nothing
    REFUSED = "refused"  # does not get as far as MQTT


@dataclass(frozen=True, slots=True)
class Who:
    name: str
    role: Role


def identities() -> list[Who]:
    links = [f"d-tenant-{tenant}-{n:02}" for tenant in "ab" for n in range(10)]
    gateways = [f"gw-tenant-{tenant}-0{n}" for tenant in "ab" for n in (1, 2, 3)][:5]
    odd = ["+", "#", f"{VICTIM}/x", "d-tenant-a-00/#", "svc-fleet-9", "svc-unknown-1", "%u", "$SYS"]
    refused = ["no certificate", "revoked", "expired", "look-alike authority", "certificate for servers", "broker"]
    return [
        *(Who(name, Role.LINK) for name in (*links, *gateways)),
        *(Who(f"svc-fleet-{n}", Role.INGEST) for n in (1, 2, 3, 4)),
        *(Who(f"svc-api-{n}", Role.API) for n in (1, 2, 3, 4)),
        Who("svc-scheduler-1", Role.SCHEDULER),
        *(Who(f"svc-probe-{n}", Role.PROBE) for n in (1, 2)),
        *(Who(name, Role.NOBODY) for name in odd),
        *(Who(name, Role.REFUSED) for name in refused),
    ]


def topics_of(name: str) -> list[str]:
    return [f"fleet/v1/{name}/up/{kind}" for kind in UP] + [f"fleet/v1/{name}/down/{kind}" for kind in DOWN]


SHARED_TOPICS = ("svc/v1/events", "svc/v1/watch", "svc/v1/other", "svc/v2/events", "elsewhere", "fleet/v2/x/up/urgent")


def topics(who: Who) -> list[str]:
    """What the identity tries to write: its own, another's, the services', and what is nobody's."""
    # A name with a wildcard or a slash makes no topic of its own: it tries what such a name might open.
    own = who.name if who.role is Role.LINK else "d-tenant-b-01"
    return [*topics_of(own), *topics_of(VICTIM), *SHARED_TOPICS, "$SYS/broker/uptime", f"fleet/v1/{VICTIM}/up"]


def filters(who: Who) -> list[str]:
    wide = [
        "#", "+/#", "$SYS/#", "svc/#", "svc/v1/#", "+/+/+/+/+", "fleet/#", "fleet/v1/#", "fleet/v1/+/up/#",
        "fleet/v1/+/down/#", "fleet/+/+/down/command", "fleet/v1/+/up/live", f"fleet/v1/{VICTIM}/#",
    ]  # fmt: skip
    return [topic for topic in topics(who) if not topic.startswith("$SYS")] + wide


def may_write(who: Who, topic: str) -> bool:
    parts = topic.split("/")
    is_link_topic = parts[:2] == ["fleet", "v1"] and len(parts) > 4
    match who.role:
        case Role.LINK:
            return is_link_topic and parts[2] == who.name and parts[3] == "up"
        case Role.INGEST:
            return (is_link_topic and parts[3] == "down") or topic.startswith("svc/v1/")
        case Role.API | Role.SCHEDULER:
            return (is_link_topic and parts[3:] == ["down", "command"]) or topic.startswith("svc/v1/")
        case Role.PROBE:
            return is_link_topic and parts[3:5] == ["down", "probe"]
        case Role.NOBODY | Role.REFUSED:
            return False


def may_read(who: Who, topic: str) -> bool:
    parts = topic.split("/")
    is_link_topic = parts[:2] == ["fleet", "v1"] and len(parts) > 3
    match who.role:
        case Role.LINK:
            return is_link_topic and parts[2] == who.name and parts[3] == "down"
        case Role.INGEST:
            return (is_link_topic and parts[3] == "up") or topic.startswith("svc/v1/")
        case Role.API:
            return (is_link_topic and parts[3:] == ["up", "live"]) or topic.startswith("svc/v1/")
        case Role.SCHEDULER:
            return topic.startswith("svc/v1/")
        case Role.PROBE:
            return is_link_topic and parts[3:5] == ["up", "probe"]
        case Role.NOBODY | Role.REFUSED:
            return False
