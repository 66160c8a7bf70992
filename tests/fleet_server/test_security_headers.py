"""Every route of the program, whoever asks and whatever is answered, carries every header."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fleet_server.body_limit import MAX_BODY_BYTES
from fleet_server.security_headers import STRICT_TRANSPORT
from tests.fleet_server.api import Api, bearer, running_api
from tests.fleet_server.routes import assert_all_headers, head_of, routes_of, scope_of

MANY_ROUTES = 40


@pytest.fixture
def api(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(sqlite_engine, tmp_path) as running:
        yield running


@pytest.mark.parametrize("caller", [None, "operator"])
def test_every_route_answers_with_every_header(api: Api, caller: str | None) -> None:
    names = {"device_id": api.fleet.terminal}
    statuses = set()
    routes = list(routes_of(api.app))
    for method, path in routes:
        filled = re.sub(r"{(\w+)[^}]*}", lambda found: names.get(found[1], "none"), path)
        headers = bearer(caller) if caller else {}
        answer = asyncio.run(head_of(api.app, scope_of(method, filled, headers)))
        assert_all_headers(answer, path)
        statuses.add(answer[":status"])
    assert len(routes) > MANY_ROUTES
    assert {"200", "303", "404"} <= statuses


def test_our_own_mistakes_and_refusals_before_any_route_have_them_too(api: Api) -> None:
    del api.app.state.capability_cache
    failed = api.get(f"/api/v1/devices/{api.fleet.terminal}")
    too_large = api.client.post("/sign-in", content=b"a" * (MAX_BODY_BYTES + 1))
    unknown, wrong_method = api.get("/nowhere"), api.client.request("TRACE", "/")
    answers = (failed, too_large, unknown, wrong_method)
    assert [answer.status_code for answer in answers] == [500, 413, 404, 405]
    for answer in answers:
        assert_all_headers({**answer.headers}, "")


def test_https_is_asked_for_in_future_only_when_it_is_spoken_now(api: Api) -> None:
    for scheme, expected in (("https", STRICT_TRANSPORT), ("http", None)):
        answer = asyncio.run(head_of(api.app, scope_of("GET", "/sign-in", {}, scheme)))
        assert answer.get("strict-transport-security") == expected


def test_nothing_says_which_program_answers(api: Api) -> None:
    assert "server" not in api.get("/").headers
