"""The door to dead letters: operators only, each of their own tenant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fleet_server.db import transaction
from fleet_server.ingest.models import DeadLetter
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.factories import NOON, TENANT

PATH = "/api/v1/dead-letters"


@pytest.fixture
def api(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(sqlite_engine, tmp_path) as running:
        with transaction(sqlite_engine) as session:
            session.add_all([letter(b"x" * size) for size in (1, 2, 3)])
        yield running


def letter(payload: bytes) -> DeadLetter:
    return DeadLetter(
        tenant_id=TENANT,
        link_id="d-one-gateway",
        topic_kind="record",
        stream="1" * 32,
        seq=len(payload),
        reason="not_decodable",
        payload=payload,
        received_at=NOON,
    )


def test_without_a_token_nothing_is_shown(api: Api) -> None:
    assert api.client.get(PATH).status_code == 401


@pytest.mark.parametrize("caller", ["viewer", "technician", "support"])
def test_other_roles_are_refused(api: Api, caller: str) -> None:
    answer = api.get(PATH, caller=caller)
    assert (answer.status_code, answer.json()["code"]) == (403, "role_too_low")


def test_letters_of_another_tenant_are_not_there(api: Api) -> None:
    assert api.get(PATH, caller="stranger").json() == {"items": [], "next": None}


def test_operators_page_through_them_newest_first_without_their_payload(api: Api) -> None:
    first = api.get(PATH, caller="operator", limit=2).json()
    rest = api.get(PATH, caller="operator", limit=2, cursor=first["next"]).json()
    assert [one["size_bytes"] for one in first["items"] + rest["items"]] == [3, 2, 1]
    assert rest["next"] is None
    assert "payload" not in first["items"][0]
    assert first["items"][0] | {"id": 0} == {
        "id": 0,
        "link": "d-one-gateway",
        "kind": "record",
        "stream": "1" * 32,
        "seq": 3,
        "reason": "not_decodable",
        "detail": "",
        "content_type": "",
        "size_bytes": 3,
        "received_at": "2026-03-02T12:00:00.000Z",
    }


def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    answer = api.get(PATH, caller="operator", cursor="nonsense")
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")
