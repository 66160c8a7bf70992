"""The door of live mode: who may open it. What comes through is told by the tests with a broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fleet_server.live import hub as hub_module
from tests.fleet_server.api import Api, running_api


@pytest.fixture
def api(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(sqlite_engine, tmp_path) as running:
        yield running


def path(device: str) -> str:
    return f"/api/v1/devices/{device}/live"


def test_without_a_token_nobody_watches(api: Api) -> None:
    assert api.client.get(path(api.fleet.terminal)).status_code == 401


def test_a_device_of_another_tenant_is_not_there(api: Api) -> None:
    answer = api.get(path(api.fleet.terminal), caller="stranger")
    assert (answer.status_code, answer.json()["code"]) == (404, "device_not_found")


def test_more_watchers_than_one_process_bears_are_told_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_LISTENERS", 0)
    answer = api.get(path(api.fleet.terminal))
    assert (answer.status_code, answer.json()["code"]) == (503, "too_many_watchers")


def test_a_stream_asks_for_the_link_that_the_device_speaks_through(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "LONGEST_S", 0.2)
    answer = api.get(path(api.fleet.terminal))
    assert answer.headers["content-type"].startswith("text/event-stream")
    said = [payload for topic, payload in api.broker.published if topic == "svc/v1/watch"]
    assert said == [b'{"link":"%s","for_s":20.0}' % api.fleet.gateway.encode()]
