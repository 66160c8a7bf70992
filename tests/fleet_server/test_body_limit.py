from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.types import Message

from fleet_server.body_limit import MAX_BODY_BYTES
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.routes import scope_of


@pytest.fixture
def api(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(sqlite_engine, tmp_path) as running:
        yield running


def in_parts(part_count: int) -> Iterator[bytes]:
    """Sent without a declared length."""
    for _ in range(part_count):
        yield b"a" * 65_536


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_body_that_is_too_large_is_refused_before_anybody_is_known(api: Api, content_type: str) -> None:
    for path in ("/api/v1/executions", "/sign-in", "/preferences"):
        headers = {"content-type": content_type}
        declared = api.client.post(path, content=b"a" * (MAX_BODY_BYTES + 1), headers=headers)
        assert (declared.status_code, declared.json()["code"]) == (413, "too_large")
    streamed = api.client.post("/api/v1/executions", content=in_parts(32), headers=headers)
    assert (streamed.status_code, streamed.json()["code"]) == (413, "too_large")


def test_nobody_is_answered_who_left_in_the_middle_of_a_request(api: Api) -> None:
    begun: Message = {"type": "http.request", "body": b"name=a", "more_body": True}
    parts = iter([begun, {"type": "http.disconnect"}])
    sent: list[Message] = []

    async def receive() -> Message:
        return next(parts)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = {"content-type": "application/x-www-form-urlencoded"}
    asyncio.run(api.app(scope_of("POST", "/sign-in", headers), receive, send))
    assert sent == []


def test_body_within_the_limit_is_looked_at(api: Api) -> None:
    answer = api.client.post("/api/v1/executions", content=in_parts(15), headers={"content-type": "application/json"})
    assert answer.status_code == 422
