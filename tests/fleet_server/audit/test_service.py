from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from fleet_server.audit.service import AuditFilter, AuditService, record
from fleet_server.auth.models import User
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading, transaction
from fleet_server.kit.pagination import CursorInvalid, encode_cursor

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
LI = Actor("1", "li.wei", Role.SUPPORT, "default", ActorKind.PERSON)
OTHER = Actor("2", "zoe", Role.SUPPORT, "other", ActorKind.PERSON)


@pytest.fixture
def written(engine: Engine) -> Engine:
    with transaction(engine) as session:
        for one in (LI, OTHER):
            person = User(
                id=one.id,
                tenant_id=one.tenant_id,
                name=one.name,
                role=one.role.value,
                password_hash="",
                created_at=NOW,
            )
            session.add(person)
    with transaction(engine) as session:
        for n in range(5):
            record(session, LI, "note_added", f"device{n}", {"n": n}, now=NOW)
        record(session, OTHER, "note_added", "device9", now=NOW)
    return engine


def test_pages_run_from_the_newest_to_the_end_without_repeating(written: Engine) -> None:
    seen: list[str] = []
    cursor: str | None = None
    with reading(written) as session:
        service = AuditService(session, "default")
        while True:
            page = service.page(AuditFilter(), cursor, 2)
            seen += [row.target for row in page.items]
            if (cursor := page.next) is None:
                break
    assert seen == [f"device{n}" for n in reversed(range(5))]


def test_another_tenants_deeds_are_not_seen(written: Engine) -> None:
    with reading(written) as session:
        assert [row.actor for row in AuditService(session, "other").page(AuditFilter(), None, 10).items] == ["zoe"]


def test_filters_narrow_to_one_person_action_and_target(written: Engine) -> None:
    with reading(written) as session:
        service = AuditService(session, "default")
        assert len(service.page(AuditFilter(actor="li.wei", action="note_added"), None, 10).items) == 5
        assert len(service.page(AuditFilter(target="device3"), None, 10).items) == 1
        assert service.page(AuditFilter(action="sign_in"), None, 10).items == []


def test_a_made_up_cursor_is_refused(written: Engine) -> None:
    with reading(written) as session, pytest.raises(CursorInvalid):
        AuditService(session, "default").page(AuditFilter(), encode_cursor("x"), 10)


@pytest.mark.parametrize("deed", ["UPDATE audit_entry SET actor = 'nobody'", "DELETE FROM audit_entry"])
def test_what_was_written_down_can_be_neither_changed_nor_removed(written: Engine, deed: str) -> None:
    with pytest.raises(DBAPIError, match="the audit only grows"), transaction(written) as session:
        session.execute(text(deed))
    with reading(written) as session:
        assert len(AuditService(session, "default").page(AuditFilter(actor="li.wei"), None, 10).items) == 5
