"""Rows that say one hostile text wherever a row may say something."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from fleet_server.devices.models import Capability, Device, Site
from fleet_server.faults.models import Fault
from fleet_server.kit.times import utc_now
from fleet_server.timeline.writer import NewEvent, append_events
from protocol.executions import ExecutionState
from tests.fleet_server.console.declared import SYNC
from tests.fleet_server.console.examples import TENANT, device_id
from tests.fleet_server.console.history import execution, run_id, verdict
from tests.support.health_rows import put_newest

TILL = device_id("till_one")
RUN = run_id(ExecutionState.RUNNING, 9)


def plant_till(session: Session, text: str) -> None:
    """What a terminal says, and what is known of it."""
    device, site = session.get_one(Device, TILL), session.get_one(Site, "s-noodles-0000")
    declared = session.get_one(Capability, TILL)
    for name in ("label_zh", "label_en", "serial_number", "model", "firmware", "presence_reason", "sim_phone"):
        setattr(device, name, text[:20] if name == "sim_phone" else text)
    device.worst_code, device.terminal_id, device.search_text = text, text[:32], f"60210000\n{text.lower()}"
    for name in ("merchant_name_zh", "merchant_name_en", "name_zh", "name_en", "city_zh", "city_en", "merchant_id"):
        setattr(site, name, text)
    declared.document = _declared(declared.document, text)
    put_newest(session, TENANT, TILL, {text: text[:64], f"{text[:60]}#": 5.0, "net.rtt_ms": 1}, utc_now())
    session.merge(_fault(text))
    row = execution(ExecutionState.FAILED, SYNC, utc_now(), number=9)
    row.id, row.code, row.detail, row.actor, row.output_tail = RUN, text, text, text, text
    row.override_reason, row.params = text, {"name": text}
    session.merge(row)
    session.flush()
    append_events(session, TENANT, _events(text), utc_now())


def _declared(document: dict[str, Any], text: str) -> dict[str, Any]:
    actions = [
        {**action, "title": {"zh": text, "en": text}, "explains": {"zh": text, "en": text}, "unit": text[:24]}
        for action in document["actions"]
    ]
    return {**document, "actions": actions}


def _fault(text: str) -> Fault:
    now = utc_now()
    return Fault(
        id="f-hostile",
        tenant_id=TENANT,
        device_id=TILL,
        code=text,
        severity=text[:16],
        raised_ms=1,
        raised_at=now,
        last_seen_at=now,
        is_open=True,
        evidence=text,
    )


def _events(text: str) -> list[NewEvent]:
    now = utc_now()
    said = dict.fromkeys(
        ("code", "detail", "evidence", "reason", "text", "state", "status", "severity", "action"), text
    )
    types = (
        "presence",
        "fault_raised",
        "fault_cleared",
        "execution",
        "note",
        "security",
        "gap",
        "capabilities",
        text[:24],
    )
    return [
        *(NewEvent(TILL, kind, now, {**said, "kind": text, "actor": text}, actor=text) for kind in types),
        NewEvent(TILL, "reading", now, {"metrics": {text: text}}),
        NewEvent(TILL, "verdict", now, _verdict(text), execution_id=RUN),
    ]


def _verdict(text: str) -> dict[str, Any]:
    said = verdict(text, text, text, unit=text, evidence=text, codes=[text], limits={"low": 1.0, "high": 9.0})
    return {**said, "phase": text, "action": text, "duration_ms": 5}
