from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from fleet_server.db import transaction
from fleet_server.health.models import HealthBlock
from fleet_server.health.packing import pack
from fleet_server.health.service import ends_of, thinned
from tests.fleet_server.api import Api, running_api
from tests.fleet_server.factories import NOON, TENANT
from tests.support.health_rows import put_newest

MINUTE = timedelta(minutes=1)


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        with transaction(engine) as session:
            for number in range(3):
                block = HealthBlock(
                    tenant_id=TENANT,
                    link_id=running.fleet.gateway,
                    stream="0" * 32,
                    seq=number + 1,
                    device_id=running.fleet.terminal,
                    start_at=NOON + number * 10 * MINUTE,
                    step_ms=60_000,
                    steps=2,
                    columns=pack(
                        {"batt.level_pct": np.array([50 + number, np.nan]), "sys.unheard_of": np.array([1.0, 2.0])}
                    ),
                    received_at=NOON,
                )
                session.add(block)
            newest: dict[str, float | int | str] = {"batt.level_pct": 52.0, "sys.state": "idle"}
            put_newest(session, TENANT, running.fleet.terminal, newest, NOON + 20 * MINUTE)
        yield running


def health(api: Api, **params: Any) -> dict[str, dict[str, object]]:
    answer = api.get(f"/api/v1/devices/{api.fleet.terminal}/health", **params)
    assert answer.status_code == 200, answer.text
    return {one["metric"]: one for one in answer.json()["items"]}


def at(minutes: int) -> str:
    return (NOON + minutes * MINUTE).isoformat()


def test_metric_comes_with_its_words_unit_range_and_newest_value(api: Api) -> None:
    found = health(api, **{"from": at(0), "to": at(60)})
    assert sorted(found) == ["batt.level_pct", "sys.state", "sys.unheard_of"]
    battery = found["batt.level_pct"]
    assert (battery["value"], battery["unit"], battery["at"]) == (52.0, "%", "2026-03-02T12:20:00.000Z")
    assert battery["title"] != {"zh": "batt.level_pct", "en": "batt.level_pct"}
    assert found["sys.state"]["value"] == "idle"
    assert found["sys.unheard_of"]["judgement"] == "unknown"


def test_course_holds_the_samples_of_the_range_and_none_that_was_not_measured(api: Api) -> None:
    found = health(api, **{"from": at(0), "to": at(20), "metrics": "batt.level_pct"})
    assert list(found) == ["batt.level_pct"]
    assert found["batt.level_pct"]["points"] == [
        ["2026-03-02T12:00:00.000Z", 50],
        ["2026-03-02T12:10:00.000Z", 51],
    ]
    assert health(api, points=0)["batt.level_pct"]["points"] == []


def test_moment_without_time_zone_is_refused(api: Api) -> None:
    answer = api.get(f"/api/v1/devices/{api.fleet.terminal}/health", **{"from": "2026-03-02T12:00:00"})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


@given(values=st.lists(st.integers(-1000, 1000) | st.just("word"), max_size=300), limit=st.integers(2, 50))
@settings(max_examples=60, deadline=None)
def test_thinning_keeps_order_bound_and_both_extremes(values: list[int | str], limit: int) -> None:
    points = [(NOON + number * MINUTE, value) for number, value in enumerate(values)]
    kept = thinned(points, limit)
    assert len(kept) <= limit
    assert kept == sorted(kept, key=lambda one: one[0])
    assert set(kept) <= set(points)
    numbers = [value for value in values if not isinstance(value, str)]
    if numbers:
        shown = [value for _, value in kept if not isinstance(value, str)]
        assert (min(shown), max(shown)) == (min(numbers), max(numbers))


@given(values=st.lists(st.integers(0, 9).map(float), max_size=120), limit=st.integers(2, 30))
@settings(max_examples=100, deadline=None)
def test_numbers_alone_are_thinned_as_numbers_among_words(values: list[float], limit: int) -> None:
    points = [(NOON + number * MINUTE, value) for number, value in enumerate(values)]
    assert [points[place] for place in ends_of(np.array(values), limit).tolist()] == thinned(points, limit)
