from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from fleet_server.db import reading, transaction
from fleet_server.ingest.dead_letters import DeadLetterService
from fleet_server.ingest.models import DeadLetter
from fleet_server.kit.pagination import CursorInvalid, encode_cursor

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def letter(tenant: str, payload: bytes) -> DeadLetter:
    return DeadLetter(
        tenant_id=tenant, link_id="d-link-0001", topic_kind="up", reason="topic", payload=payload, received_at=NOON
    )


def test_dead_letters_are_listed_newest_first_in_pages_for_their_own_tenant(engine: Engine) -> None:
    with transaction(engine) as session:
        session.add_all([letter("one", b"x" * n) for n in range(1, 4)])
        session.add(letter("other", b"not ours"))
    with reading(engine) as session:
        service = DeadLetterService(session, "one")
        first = service.page(None, 2)
        rest = service.page(first.next, 2)
    assert [one.size_bytes for one in first.items] == [3, 2]
    assert [one.size_bytes for one in rest.items] == [1]
    assert rest.next is None


def test_a_cursor_of_another_list_is_refused(engine: Engine) -> None:
    with reading(engine) as session, pytest.raises(CursorInvalid):
        DeadLetterService(session, "one").page(encode_cursor("a name"), 2)
