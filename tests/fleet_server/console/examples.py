"""An invented fleet for the console's tests: every condition, faults, readings, a timeline and runs in many states.

All moments hang on the ``now`` that is handed in, so pages show fresh things whenever the tests run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from fleet_server.auth.models import User
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.roles import Role
from fleet_server.devices.condition import Condition
from fleet_server.devices.models import Capability, Device, HeardHour, Site
from fleet_server.faults.models import Fault
from fleet_server.kit.times import to_ms
from tests.fleet_server.console.declared import capabilities_of
from tests.fleet_server.factories import assignment
from tests.support.health_rows import put_newest

TENANT = "default"
PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True)
class Example:
    """A device by the key that tests call it by."""

    key: str
    condition: str
    zh: str
    en: str
    site: str
    kind: str = "terminal"
    family: str = "host"
    presence: str = "online"
    code: str = ""
    severity: str = "major"
    link: str = ""
    line: str | None = None
    model: str = "T-630"
    terminal_class: str = "traditional"
    firmware: str = "4.12.0"
    latest: dict[str, float | str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return device_id(self.key)


def device_id(key: str) -> str:
    return f"d-{key.replace('_', '-')}-00000000"


SITES = (
    ("noodles", "老街坊面馆", "Old Neighbours Noodles", "人民路店", "Renmin Road", "杭州", "Hangzhou"),
    ("books", "蓝鲸坊书店", "Blue Whale Books", "滨江店", "Riverside", "杭州", "Hangzhou"),
    ("petrol", "城北加油站", "North Gate Petrol", "", "", "绍兴", "Shaoxing"),
)
DEVICES = (
    Example(
        "till_one",
        "faulty",
        "1 号台",
        "Till 1",
        "noodles",
        code="term.CLOCK_INVALID",
        severity="critical",
        latest={
            "sys.mem_avail_pct": 38.0,
            "sys.storage_free_pct": 61.0,
            "sys.clock_drift_s": -212975940.0,
            "net.rtt_ms": 38.0,
            "agent.queue_depth": 3.0,
            "agent.spool_used_pct": 84.5,
            "agent.spool_oldest_h": 26.2,
            "modem.rsrp_dbm": -91.0,
        },
    ),
    Example("till_two", "well", "2 号台", "Till 2", "noodles", latest={"net.rtt_ms": 41.0}),
    Example("bar_till", "well", "吧台", "Bar till", "petrol", latest={"sys.storage_free_pct": 2.5}),
    Example("gateway", "well", "网关", "Gateway", "petrol", kind="gateway", model="GW-4"),
    Example(
        "printer",
        "watch",
        "小票打印机",
        "Receipt printer",
        "petrol",
        kind="attached",
        family="escpos",
        code="escpos.eot4.near_end",
        severity="minor",
        link="gateway",
        line="prn0",
        model="P-58",
    ),
    Example("bookshop", "silent", "收银台", "Till", "books", presence="offline", terminal_class="e_sign", model="E-80"),
    Example(
        "night", "off", "夜宵档", "Night stall", "noodles", presence="offline", terminal_class="smart", model="S-20"
    ),
    Example("fresh", "unknown", "新装机", "New till", "books", presence="unknown"),
)


# Enough of the ordinary for a second part of the first page.
SPARE = tuple(
    Example(
        f"z_spare_{number:02d}",
        "well",
        f"备用 {number} 号机",
        f"Spare {number}",
        "petrol",
        firmware="4.13.0" if number % 3 else "4.12.0",
        latest={"net.rtt_ms": 35.0 + number * number * (6 if number % 3 else 1)},
    )
    for number in range(12)
)


def add_examples(session: Session, now: datetime) -> None:
    for key, merchant_zh, merchant_en, zh, en, city_zh, city_en in SITES:
        session.add(
            Site(
                id=f"s-{key}-0000",
                tenant_id=TENANT,
                merchant_id=f"89833015812{len(key):04d}",
                merchant_name_zh=merchant_zh,
                merchant_name_en=merchant_en,
                name_zh=zh,
                name_en=en,
                city_zh=city_zh,
                city_en=city_en,
                contact_name="王小明",
                address="虚构路 12 号",
                phone=f"0571555501{len(key):02d}",
                timezone="Asia/Shanghai",
                trading_hours=[["00:00", "24:00"]] if key == "petrol" else [["06:00", "22:00"]],
            )
        )
        session.add(assignment("u-technician", site_id=f"s-{key}-0000", ends=timedelta(days=7)))
    session.flush()
    for number, example in enumerate((*DEVICES, *SPARE)):
        _add_device(session, example, number, now)
    session.flush()


def add_people(session: Session, now: datetime) -> None:
    hashed = Passwords.cheap().hash(PASSWORD)
    for role in Role:
        session.add(
            User(
                id=f"u-{role.value}",
                tenant_id=TENANT,
                name=role.value,
                password_hash=hashed,
                role=role.value,
                created_at=now,
            )
        )


def _add_device(session: Session, example: Example, number: int, now: datetime) -> None:
    serial = f"T63-2204-1187{number:04d}"
    was_seen = example.presence != "unknown"
    values: dict[str, Any] = {
        "id": example.id,
        "tenant_id": TENANT,
        "link_id": device_id(example.link) if example.link else example.id,
        "kind": example.kind,
        "line": example.line,
        "site_id": f"s-{example.site}-0000",
        "serial_number": serial,
        "serial_tail": serial[-6:].lower(),
        "terminal_id": f"6021{number:04d}",
        "model": example.model,
        "terminal_class": example.terminal_class,
        "family": example.family,
        "firmware": example.firmware,
        "label_zh": example.zh,
        "label_en": example.en,
        "search_text": f"{serial}\n6021{number:04d}\n{example.zh}\n{example.en}\n老街坊面馆".lower(),
        "enrolled_at": now - timedelta(days=90),
        "presence": example.presence,
        "presence_since": now - timedelta(hours=2) if was_seen else None,
        "last_seen_at": now - timedelta(seconds=4 if example.presence == "online" else 7200) if was_seen else None,
        "condition": example.condition,
        "condition_rank": Condition(example.condition).rank,
        "condition_since": now - timedelta(minutes=21),
        "worst_code": example.code,
        "clock_offset_ms": -212_975_940_000 if example.key == "till_one" else 300,
    }
    session.add(Device(**values))
    session.flush()
    if was_seen:
        _add_contact(session, example, now)
    if example.code:
        session.add(_fault(example, now - timedelta(minutes=21)))


def _add_contact(session: Session, example: Example, now: datetime) -> None:
    """What a device leaves behind that was heard: what it can do, hours, readings."""
    session.add(_capability(example, now))
    for hours in range(1, 6):
        hour = (now - timedelta(hours=hours)).replace(minute=0, second=0, microsecond=0)
        session.add(HeardHour(device_id=example.id, hour_at=hour, tenant_id=TENANT))
    if example.latest:
        put_newest(session, TENANT, example.id, example.latest, now)


def _capability(example: Example, now: datetime) -> Capability:
    return Capability(
        device_id=example.id,
        tenant_id=TENANT,
        digest="d" * 64,
        document=capabilities_of(example.id, example.family, example.terminal_class),
        received_at=now - timedelta(hours=3),
    )


def _fault(example: Example, raised_at: datetime) -> Fault:
    return Fault(
        id=f"f-{example.key}",
        tenant_id=TENANT,
        device_id=example.id,
        code=example.code,
        severity=example.severity,
        raised_ms=to_ms(raised_at),
        raised_at=raised_at,
        last_seen_at=raised_at + timedelta(minutes=20),
        is_open=True,
        count=14,
        evidence="tls host=acq-a alert=certificate not yet valid",
    )
