"""Somebody who signs in, and the contact of a site, planted into every column where they may stand, beside others whose
names and numbers look like theirs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, SQLModel

from fleet_server.approvals.models import Approval, ApprovalSignature, ShiftPermit
from fleet_server.assignments.models import Assignment
from fleet_server.audit.service import record
from fleet_server.auth.models import KnownBrowser, LoginSession, OidcLink, RecoveryCode, User
from fleet_server.auth.roles import Role
from fleet_server.db import transaction
from fleet_server.devices.models import Device, Site
from fleet_server.enrollment.models import Enrolment, Retirement
from fleet_server.executions.models import Execution
from fleet_server.faults.models import Fault
from fleet_server.freezes.models import Freeze
from fleet_server.health.models import DeviceHealth, ValueInterval
from fleet_server.ingest.models import DeadLetter, StoredRecord
from fleet_server.inspections.models import Inspection
from fleet_server.playbooks.models import PlaybookRun, PlaybookStep
from fleet_server.timeline.models import Event
from tests.fleet_server.factories import NOON, TENANT, actor, add_fleet, site

# Of the person who signs in, and of the one who is called.
STAFF = {"name": "li.wei", "display": "李薇薇", "subject": "oidc-li-wei-8431", "address": "10.77.66.55"}
CALLED = {"name": "王小明", "phone": "13812345678", "address": "虚构路 1234 弄"}
LATER = NOON + timedelta(days=400)
STAFF_ID = "u-0001"
SITE = "s-one-0001"
# Like them, and somebody else.
ALIKE = "li.weiss and ali.wei of 113812345678 at 138123456789"


def plant(engine: Engine, staff: Mapping[str, str] = STAFF, called: Mapping[str, str] = CALLED) -> None:
    with transaction(engine) as session:
        fleet = add_fleet(session)
        text = f"{staff['name']} / {staff['display']} for {called['name']} {called['phone']}; {ALIKE}"
        _people(session, staff)
        _place(session, fleet.site, fleet.terminal, called, text)
        _work(session, fleet.gateway, fleet.terminal, staff["name"], text)
        _signed(session, staff["name"], text)
        for number, (assignee, by) in enumerate(((STAFF_ID, "chen.hao"), ("u-0009", staff["name"]))):
            session.add(_assigned(f"a-000{number}", assignee, by, fleet.terminal))
        session.add(_freeze(staff["name"], text))
        _from_devices(session, fleet.gateway, fleet.terminal, text)
        other = actor(Role.SUPPORT, name="chen.hao")
        personal = {"reason": text}
        doer = replace(other, id=STAFF_ID, name=staff["name"])
        record(session, doer, "sign_in", staff["name"], address=staff["address"], personal=personal, now=NOON)
        record(session, other, "site_changed", SITE, {"fields": ["phone"]}, personal=personal, now=NOON)


def needles(of: Mapping[str, str]) -> list[bytes]:
    """As they may be written, in a file or a dump."""
    return [form.encode() for word in of.values() for form in dict.fromkeys((word, json.dumps(word)[1:-1]))]


def _people(session: Session, staff: Mapping[str, str]) -> None:
    session.add(
        User(
            id=STAFF_ID,
            tenant_id=TENANT,
            name=staff["name"],
            display_name=staff["display"],
            password_hash="$argon2id$hash-of-li-wei",
            totp_sealed="sealed",
            totp_new_sealed="sealed too",
            set_up_sha256="5e7" * 16,
            role="support",
            created_at=NOON,
        )
    )
    session.add(User(id="u-0002", tenant_id=TENANT, name="li.weiss", password_hash="", role="viewer", created_at=NOON))
    session.flush()
    session.add(RecoveryCode(id_sha256="c0de" * 16, tenant_id=TENANT, user_id=STAFF_ID, created_at=NOON))
    session.add(
        OidcLink(issuer="https://id", subject=staff["subject"], tenant_id=TENANT, user_id=STAFF_ID, created_at=NOON)
    )
    session.add(KnownBrowser(id_sha256="b0b" * 16, tenant_id=TENANT, user_id=STAFF_ID, used_at=NOON))
    session.add(
        LoginSession(
            id_sha256="5e55" * 16,
            tenant_id=TENANT,
            user_id=STAFF_ID,
            csrf="c",
            created_at=NOON,
            last_used_at=NOON,
            expires_at=LATER,
            address=staff["address"],
            user_agent=f"Browser of {staff['name']}",
        )
    )


def _place(session: Session, site_id: str, device_id: str, called: Mapping[str, str], text: str) -> None:
    place = session.get_one(Site, site_id)
    place.contact_name, place.phone, place.address = called["name"], called["phone"], called["address"]
    place.merchant_name_zh, place.merchant_name_en = f"{called['name']}面馆", f"Noodles of {called['name']}"
    place.name_zh, place.name_en = f"{called['name']}总店", f"Main shop of {called['name']}"
    device = session.get_one(Device, device_id)
    device.sim_phone, device.label_zh, device.label_en = (
        called["phone"],
        f"{called['name']}的机",
        _short(text),
    )
    device.search_text = f"sn1\n{called['name']}面馆\nmodel".lower()
    session.add(site("s-two-0002", contact_name="王小明明", phone="138123456789", address="别处 1 号"))


def _work(session: Session, link: str, device: str, name: str, text: str) -> None:
    session.add(
        Execution(
            id="e-0001",
            tenant_id=TENANT,
            device_id=device,
            link_id=link,
            action="app.restart",
            kind="fix",
            danger_class=1,
            params={"note": text, "count": 3},
            declared={},
            actor=name,
            override_reason=text,
            state="SUCCEEDED",
            is_final=True,
            detail=text,
            output_tail=text,
            cancel_asked_by=name,
            created_at=NOON,
            queued_until=NOON,
            finished_at=NOON,
        )
    )
    _walked(session, device, name, text)
    data = {"state": "SUCCEEDED", "kind": "fix", "actor": name, "approved_by": [name], "detail": text, "attempt": 1}
    session.add(_event(device, data, name, NOON))
    session.add(_event(device, {"state": "RUNNING", "actor": "li.weiss"}, "li.weiss", NOON))
    _inspected(session, name, text)
    _devices_in_and_out(session, device, name, text)


def _walked(session: Session, device: str, name: str, text: str) -> None:
    session.add(
        PlaybookRun(
            id="w-0001",
            tenant_id=TENANT,
            device_id=device,
            playbook="no_network",
            version=1,
            definition={},
            given={"apn": text},
            danger_class=1,
            started_by=name,
            starter_id=STAFF_ID,
            starter_kind="person",
            started_at=NOON,
            is_open=False,
            ended_at=NOON,
            cancel_asked_by=name,
        )
    )
    heard = {"result": "ran", "values": {"app": text}}
    step: dict[str, Any] = {"step": "alive", "action": "app.alive", "begun_at": NOON, "ended_at": NOON, "heard": heard}
    session.add(PlaybookStep(run_id="w-0001", number=1, tenant_id=TENANT, device_id=device, **step))


def _inspected(session: Session, name: str, text: str) -> None:
    session.add(
        Inspection(
            id="i-0001",
            tenant_id=TENANT,
            name=_short(text),
            checks=["agent.echo"],
            days=[1],
            at_local="03:00",
            window_min=60,
            devices={"q": text},
            state="ended",
            created_by=name,
            created_at=NOON,
            changed_at=NOON,
            planned_from=NOON,
        )
    )


def _devices_in_and_out(session: Session, device: str, name: str, text: str) -> None:
    session.add(
        Enrolment(
            id="n-0001",
            tenant_id=TENANT,
            kind="new",
            state="done",
            device_id=device,
            serial_number="SN1",
            model="M",
            terminal_class="e_sign",
            label_zh=_short(text),
            label_en=_short(text),
            address="10.1.2.3",
            created_by=name,
            decided_by=name,
            created_at=NOON,
            expires_at=NOON,
        )
    )
    session.add(
        Retirement(
            device_id="d-gone",
            tenant_id=TENANT,
            link_id="d-gone",
            reason="retired",
            note=text,
            retired_by=name,
            at=NOON,
        )
    )


def _event(device: str, data: dict[str, Any], name: str, at: datetime) -> Event:
    return Event(tenant_id=TENANT, device_id=device, type="execution", at=at, received_at=at, actor=name, data=data)


def _signed(session: Session, name: str, text: str) -> None:
    document = {"requester": name, "reason": text}
    payload = base64.b64encode(json.dumps(document).encode()).decode()
    session.add(
        Approval(
            execution_id="e-0001",
            tenant_id=TENANT,
            device_id="d",
            action="app.restart",
            requester=name,
            payload=json.dumps(document),
            needed=1,
            is_open=False,
            created_at=NOON,
            expires_at=NOON,
        )
    )
    session.add(
        ApprovalSignature(
            execution_id="e-0001", person=name, tenant_id=TENANT, key_id="k" * 32, signature="s", signed_at=NOON
        )
    )
    session.add(
        ShiftPermit(
            id="p-0001",
            tenant_id=TENANT,
            people=f"chen.hao, {name}",
            envelope=json.dumps({"payloadType": "t", "payload": payload, "signatures": []}),
            actions=["app.restart"],
            target_count=1,
            max_count=1,
            max_per_device=1,
            reason=text,
            not_before=NOON,
            not_after=NOON,
            created_at=NOON,
        )
    )


def _freeze(name: str, text: str) -> Freeze:
    return Freeze(
        id="f-0001",
        tenant_id=TENANT,
        begins_at=NOON,
        ends_at=NOON,
        reason=text,
        created_by=name,
        created_at=NOON,
        ended_by=name,
    )


def _assigned(id_: str, assignee: str, by: str, device: str) -> Assignment:
    return Assignment(
        id=id_,
        tenant_id=TENANT,
        assignee_id=assignee,
        device_id=device,
        begins_at=NOON,
        ends_at=NOON,
        created_by=by,
        created_at=NOON,
    )


def _from_devices(session: Session, link: str, device: str, text: str) -> None:
    session.add(
        Fault(
            id="f-0001",
            tenant_id=TENANT,
            device_id=device,
            code="zvt.PAPER_OUT",
            severity="major",
            raised_ms=0,
            raised_at=NOON,
            last_seen_at=NOON,
            is_open=False,
            evidence=text,
        )
    )
    session.add(
        StoredRecord(
            link_id=link,
            stream="urgent.1",
            seq=1,
            tenant_id=TENANT,
            device_id=device,
            kind="fault",
            boot="b",
            mono_ms=0,
            wall_ms=0,
            received_at=NOON,
            body=json.dumps({"evidence": text}),
        )
    )
    _understood_by_nobody(session, link, text)
    session.add(DeviceHealth(device_id=device, tenant_id=TENANT, latest=json.dumps({"op": text})))
    session.add(ValueInterval(device_id=device, metric="op.name", tenant_id=TENANT, text=_short(text)))


def _understood_by_nobody(session: Session, link: str, text: str) -> None:
    letters: dict[str, Any] = {
        "tenant_id": TENANT,
        "link_id": link,
        "topic_kind": "up",
        "reason": "topic",
        "received_at": NOON,
    }
    session.add(DeadLetter(payload=text.encode(), **letters))
    session.add(DeadLetter(payload=json.dumps(text).encode(), detail=text, **letters))
    session.add(DeadLetter(payload=b"\xff\x00 nobody", detail=ALIKE, **letters))


def _short(text: str) -> str:
    """Without those who look alike: a column that cuts them off would make them the same."""
    return text.split(";", maxsplit=1)[0]


def everything(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables."""
    with engine.connect() as connection:
        return {
            name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for name, table in SQLModel.metadata.tables.items()
        }
