"""How a metric lies over the fleet: against the standard library's quantiles, by make, and of no other tenant."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from fleet_server.db import reading, transaction
from fleet_server.devices.repository import DeviceFilters, DeviceRepository
from fleet_server.health import distribution
from fleet_server.health.distribution import FleetValues, outside_of
from fleet_server.health.latest import Value
from protocol.catalogue.normal_range import AtLeast, AtMost, Between, NormalRange, OneOf, Special, SpecialSet
from tests.fleet_server.api import OTHER_TENANT, Api, running_api
from tests.fleet_server.factories import NOON, TENANT, device, site
from tests.support.health_rows import put_newest

METRIC = "batt.level_pct"


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        yield running


def add(api: Api, name: str, value: Value | None, *, tenant: str = TENANT, metric: str = METRIC, **more: Any) -> None:
    site_id = api.fleet.site if tenant == TENANT else "s-two-0001"
    with transaction(api.engine) as session:
        session.add(device(f"d-{name}", more.pop("site_id", site_id), tenant, **more))
        if value is not None:
            put_newest(session, tenant, f"d-{name}", {metric: value, "sys.state": "idle"}, NOON)


def asked(api: Api, caller: str = "viewer", metric: str = METRIC, **params: str) -> Any:
    answer = api.get("/api/v1/health/distribution", caller, metric=metric, **params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def groups(found: Any) -> dict[tuple[str, str], Any]:
    return {(one["model"], one["version"]): one for one in found["groups"]}


def test_quantiles_are_those_of_the_standard_library(api: Api) -> None:
    dice = random.Random(5)
    values = [dice.choice([dice.uniform(0, 100), float(dice.randint(0, 100))]) for _ in range(57)]
    for number, value in enumerate(values):
        add(api, f"v{number:03d}", value, firmware="1.0")
    found = asked(api)
    group = groups(found)["Model X", "1.0"]
    ranks = quantiles(values, n=100, method="inclusive")
    told = [group[name] for name in ("p5", "p25", "median", "p75", "p95")]
    assert told == pytest.approx([ranks[rank - 1] for rank in (5, 25, 50, 75, 95)])
    assert (group["min"], group["max"]) == (min(values), max(values))
    assert found["devices"] == group["devices"] == 57
    assert group["out_of_range"] == sum(value < 20 for value in values)


def test_devices_are_grouped_by_model_and_version_those_of_most_devices_first(api: Api) -> None:
    add(api, "a", 50, model="A", firmware="1", agent_version="9")
    add(api, "b", 60, model="B", firmware="1", agent_version="9")
    add(api, "c", 70, model="B", firmware="1", agent_version="8")
    add(api, "d", 80, model="B", agent_version="8")
    add(api, "silent", None, model="B")
    found = asked(api)
    assert [(one["model"], one["version"], one["devices"]) for one in found["groups"]] == [
        ("B", "1", 2),
        ("A", "1", 1),
        ("B", "", 1),
    ]
    assert found["title"]["en"] == "battery level"
    assert found["unit"] == "%"
    by_agent = asked(api, by="agent")
    assert {key: one["devices"] for key, one in groups(by_agent).items()} == {
        ("A", "9"): 1,
        ("B", "9"): 1,
        ("B", "8"): 2,
    }


def test_a_group_is_judged_by_the_classes_of_its_devices(api: Api) -> None:
    add(api, "kiosk", 500.0, metric="net.rtt_ms", terminal_class="kiosk")
    add(api, "signs", 500.0, metric="net.rtt_ms", terminal_class="e_sign")
    add(api, "slow", 90_000.0, metric="net.rtt_ms", terminal_class="e_sign")
    (group,) = asked(api, metric="net.rtt_ms")["groups"]
    assert set(group["normal"]) == {"kiosk", "e_sign"}
    limits = {name: float(text.removeprefix("<=")) for name, text in group["normal"].items()}
    assert group["out_of_range"] == (limits["kiosk"] < 500) + (limits["e_sign"] < 500) + 1


def test_what_is_not_known_or_not_a_number_moves_no_quantile(api: Api) -> None:
    add(api, "good", 20.0, metric="modem.csq")
    add(api, "deaf", 99.0, metric="modem.csq")
    (group,) = asked(api, metric="modem.csq")["groups"]
    assert (group["devices"], group["not_known"], group["min"], group["max"]) == (2, 1, 20.0, 20.0)
    assert asked(api, metric="sys.state")["groups"] == []
    assert asked(api, metric="sys.unheard_of")["devices"] == 0


def test_filters_are_those_of_the_list_of_devices(api: Api) -> None:
    with transaction(api.engine) as session:
        session.add(site("s-far-0001"))
    add(api, "a", 50, model="A", kind="gateway")
    add(api, "b", 60, model="B", site_id="s-far-0001")
    assert set(groups(asked(api, model="A"))) == {("A", "")}
    assert set(groups(asked(api, kind="terminal"))) == {("B", "")}
    assert set(groups(asked(api, site="s-far-0001"))) == {("B", "")}
    listed = api.get("/api/v1/devices", model="B", firmware="", kind="terminal").json()["items"]
    assert [one["id"] for one in listed] == ["d-b"]
    assert api.get("/api/v1/devices", model="B", firmware="2").json()["items"] == []


def test_nobody_sees_devices_of_another_tenant_or_those_that_are_retired(api: Api) -> None:
    add(api, "ours", 50)
    add(api, "theirs", 60, tenant=OTHER_TENANT)
    add(api, "gone", 70, retired_at=NOON)
    assert asked(api)["devices"] == 1
    assert asked(api, "stranger")["groups"][0]["max"] == 60
    assert api.client.get("/api/v1/health/distribution", params={"metric": METRIC}).status_code == 401
    with reading(api.engine) as session:
        assert FleetValues(session, "nobody").metrics() == []
        ours = DeviceRepository(session, TENANT).makes(DeviceFilters())
        assert len(list(FleetValues(session, TENANT).numbers(METRIC, ours))) == 1
        assert list(FleetValues(session, "nobody").numbers(METRIC, ours)) == []


def test_what_is_beyond_the_limits_is_told(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "MAX_GROUPS", 2)
    monkeypatch.setattr(distribution, "MAX_TOLD_APART", 4)
    for number in range(6):
        add(api, f"m{number}", 50, model="M", firmware=str(number))
    found = asked(api)
    assert len(found["groups"]) == 2
    assert (found["devices"], found["devices_left_out"], found["groups_left_out"]) == (6, 4, 3)


def test_metrics_that_are_reported_as_numbers_are_named_once(api: Api) -> None:
    for number in range(4):
        add(api, f"m{number}", 50)
    add(api, "odd", 1.0, metric="x.unheard_of")
    with reading(api.engine) as session:
        assert FleetValues(session, TENANT).metrics() == [METRIC, "x.unheard_of"]


@pytest.mark.parametrize("metric", ["", "A", 'a"b', "a b", "x" * 65])
def test_a_name_that_no_metric_can_have_is_refused(api: Api, metric: str) -> None:
    assert api.get("/api/v1/health/distribution", metric=metric).status_code == 422


numbers = st.one_of(st.integers(-50, 50).map(float), st.floats(-50, 50))
normals: st.SearchStrategy[NormalRange] = st.one_of(
    numbers.map(AtMost),
    numbers.map(AtLeast),
    st.tuples(numbers, numbers).map(lambda two: Between(min(two), max(two))),
    st.lists(numbers, min_size=1, max_size=3).map(lambda some: OneOf(tuple(some))),
)


@hypothesis_settings(max_examples=60)
@given(normal=normals, values=st.lists(numbers, max_size=20))
def test_what_is_out_is_what_the_catalogue_judges_abnormal(normal: NormalRange, values: list[float]) -> None:
    expected = sum(normal.judge(value).is_abnormal for value in values)
    assert outside_of(normal, np.array(values, dtype=np.float64)) == expected


@pytest.mark.parametrize("normal", [None, Special(SpecialSet.STABLE), OneOf(("idle", "busy"))])
def test_what_cannot_be_judged_has_no_count(normal: NormalRange | None) -> None:
    assert outside_of(normal, np.array([1.0])) is None
