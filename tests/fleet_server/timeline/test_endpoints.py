from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fleet_server.db import transaction
from fleet_server.timeline.writer import NewEvent, append_events
from tests.fleet_server.api import Api, bearer, running_api
from tests.fleet_server.factories import NOON, TENANT


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        yield running


def note(api: Api, count: int, *, type_: str = "note", step: timedelta = timedelta(seconds=1)) -> list[int]:
    with transaction(api.engine) as session:
        events = [
            NewEvent(api.fleet.terminal, type_, NOON + number * step, {"text": f"{type_} {number}"})
            for number in range(count)
        ]
        return append_events(session, TENANT, events, NOON + timedelta(hours=1))


def all_pages(api: Api, limit: int, **filters: str) -> list[str]:
    path, cursor, texts = f"/api/v1/devices/{api.fleet.terminal}/timeline", None, []
    for _ in range(50):
        page = api.get(path, limit=limit, **filters, **({"cursor": cursor} if cursor else {})).json()
        texts += [one["data"]["text"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            return texts
    raise AssertionError("the pages never end")


def test_timeline_is_newest_first_and_pages_tell_everything_once(api: Api) -> None:
    note(api, 11)
    assert all_pages(api, 3) == [f"note {number}" for number in reversed(range(11))]


def test_events_of_the_same_moment_are_neither_lost_nor_repeated_between_pages(api: Api) -> None:
    note(api, 10, step=timedelta(0))
    assert all_pages(api, 3) == [f"note {number}" for number in reversed(range(10))]


def test_timeline_is_filtered_by_types(api: Api) -> None:
    note(api, 2)
    note(api, 2, type_="gap")
    note(api, 2, type_="reading")
    assert all_pages(api, 50, types="gap,reading") == ["reading 1", "gap 1", "reading 0", "gap 0"]
    assert all_pages(api, 50, types="presence") == []


def test_event_on_a_page_has_the_shape_it_has_on_a_stream(api: Api) -> None:
    (event_id,) = note(api, 1)
    (item,) = api.get(f"/api/v1/devices/{api.fleet.terminal}/timeline").json()["items"]
    assert item == {
        "id": event_id,
        "type": "note",
        "device": api.fleet.terminal,
        "execution": None,
        "at": "2026-03-02T12:00:00.000Z",
        "received_at": "2026-03-02T13:00:00.000Z",
        "actor": "",
        "data": {"text": "note 0"},
    }


def test_stream_is_refused_for_a_last_event_id_that_is_no_id(api: Api) -> None:
    headers = {**bearer("support"), "Last-Event-ID": "yesterday"}
    answer = api.client.get("/api/v1/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
