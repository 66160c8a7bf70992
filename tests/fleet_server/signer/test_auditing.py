from __future__ import annotations

from sqlalchemy import Engine
from sqlmodel import select

from fleet_server.audit.models import AuditEntry
from fleet_server.audit.repository import AuditRepository
from fleet_server.db import reading, transaction
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.signer.auditing import copied_until, write_journal
from fleet_server.signer.messages import Stop
from tests.fleet_server.factories import NOON, TENANT
from tests.fleet_server.signer.test_service import ORDER, READ, a_signer, allowed


def copy(engine: Engine, dispatcher: Dispatcher) -> None:
    with reading(engine) as session:
        copied = copied_until(session)
    page = dispatcher.signatures(*copied)
    with transaction(engine) as session:
        write_journal(session, TENANT, page)


def audited(engine: Engine) -> list[AuditEntry]:
    with reading(engine) as session:
        return list(session.exec(select(AuditEntry).where(AuditEntry.actor == "signer").order_by("id")))


def test_every_signature_and_stop_comes_into_the_audit_once(engine: Engine) -> None:
    signer = a_signer()
    dispatcher = Dispatcher(signer)
    signer.sign(READ, NOON)
    signer.sign(allowed(), NOON)
    copy(engine, dispatcher)
    signer.stop(Stop("default", "lin", "odd"), NOON)
    for _ in range(2):
        copy(engine, dispatcher)
    entries = audited(engine)
    assert [(one.action, one.data["number"]) for one in entries] == [
        ("signer_signed", 1),
        ("signer_signed", 2),
        ("signer_stopped", 3),
    ]
    assert entries[1].target == ORDER.device_id
    assert "approvers" not in entries[1].data
    assert not {"by", "reason"} & set(entries[2].data)
    with reading(engine) as session:
        beside = AuditRepository(session, TENANT).asides([one.seq for one in entries])
    assert beside[entries[1].seq] == {"approvers": ["mei"]}
    assert beside[entries[2].seq] == {"by": "lin", "reason": "odd"}


def test_a_signer_that_lost_its_file_is_copied_from_its_first_number_on(engine: Engine) -> None:
    for _ in range(2):
        signer = a_signer()
        signer.sign(READ, NOON)
        copy(engine, Dispatcher(signer))
    first, second = audited(engine)
    assert first.data["number"] == second.data["number"] == 1
    assert first.data["journal"] != second.data["journal"]
