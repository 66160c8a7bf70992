"""Which devices a condition on newest values finds: those it is true of, by an index, and no other tenant's."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from fleet_server.db import reading, transaction
from fleet_server.health import latest
from fleet_server.health.apply import HealthReport, apply_health
from fleet_server.health.latest import Value
from fleet_server.health.searching import Comparison, Condition, ConditionUnreadable, HealthSearch, read_conditions
from fleet_server.kit.times import to_ms
from protocol.records import HealthColumns
from tests.fleet_server.api import OTHER_TENANT, Api, running_api
from tests.fleet_server.factories import NOON, TENANT
from tests.support.health_rows import put_newest

METRIC = "modem.csq"
COMPARE = {
    Comparison.BELOW: operator.lt,
    Comparison.AT_MOST: operator.le,
    Comparison.ABOVE: operator.gt,
    Comparison.AT_LEAST: operator.ge,
    Comparison.EQUAL: operator.eq,
}


def found(engine: Engine, *conditions: str, tenant_id: str = TENANT) -> set[str]:
    with reading(engine) as session:
        queries = HealthSearch(session, tenant_id).devices(read_conditions(conditions))
        return set.intersection(*({row[0] for row in session.execute(query)} for query in queries))


def put(engine: Engine, values: dict[str, Value], metric: str = METRIC) -> None:
    with transaction(engine) as session:
        for device, value in values.items():
            put_newest(session, TENANT, device, {metric: value}, NOON)


def test_every_comparison_finds_what_it_is_true_of(engine: Engine) -> None:
    dice = random.Random(3)
    values: dict[str, Value] = {f"d-{n:012d}": dice.choice([0, 10, 10.5, dice.randint(0, 31)]) for n in range(60)}
    put(engine, values)
    for comparison, compare in COMPARE.items():
        for limit in (0, 9.9, 10, 10.5, 31):
            expected = {device for device, value in values.items() if compare(value, limit)}
            assert found(engine, str(Condition(METRIC, comparison, limit))) == expected, (comparison, limit)


def test_a_value_that_wanders_is_found_where_it_is_now(engine: Engine) -> None:
    dice = random.Random(7)
    value = 50.0
    for seq in range(30):
        value = min(max(value + dice.uniform(-12, 12), 0), 100)
        start_at = NOON + timedelta(minutes=seq)
        body = HealthColumns(to_ms(start_at), 1000, 1, {"batt.level_pct": [value]})
        report = HealthReport("d-wanders00001", "smart", "d-wanders00001", "2" * 32, seq + 1, start_at, body)
        with transaction(engine) as session:
            apply_health(session, TENANT, [report], NOON + timedelta(days=1))
        assert found(engine, f"batt.level_pct<={value!r}"), value
        assert found(engine, f"batt.level_pct>={value!r}"), value
        assert not found(engine, f"batt.level_pct<{value!r}"), value


def test_texts_are_found_by_being_equal_and_are_no_numbers(engine: Engine) -> None:
    put(engine, {"d-busy00000001": "busy", "d-idle00000001": "idle", "d-odd000000001": 7}, "sys.state")
    assert found(engine, "sys.state=idle") == {"d-idle00000001"}
    assert found(engine, "sys.state>0") == {"d-odd000000001"}
    put(engine, {"d-odd000000001": "idle"}, "sys.state")
    assert found(engine, "sys.state>0") == set()
    assert found(engine, "sys.state=idle") == {"d-idle00000001", "d-odd000000001"}


def test_all_conditions_hold_at_once_and_other_tenants_are_not_seen(engine: Engine) -> None:
    put(engine, {"d-both00000001": 5, "d-one000000001": 5})
    put(engine, {"d-both00000001": 10, "d-one000000001": 90}, "batt.level_pct")
    assert found(engine, "modem.csq<10, batt.level_pct < 20") == {"d-both00000001"}
    assert found(engine, "modem.csq<10", tenant_id="other") == set()


@pytest.mark.parametrize(
    ("condition", "index"), [("modem.csq<3", "ix_value_interval_low"), ("sys.state=idle", "ix_value_interval_text")]
)
def test_candidates_come_from_an_index(engine: Engine, condition: str, index: str) -> None:
    put(engine, {f"d-{n:012d}": float(n) for n in range(400)})
    put(engine, {f"d-{n:012d}": "idle" if n < 3 else "busy" for n in range(400)}, "sys.state")
    with reading(engine) as session:
        if engine.dialect.name == "postgresql":
            session.execute(text("ANALYZE value_interval"))
            session.execute(text("SET LOCAL enable_seqscan = off"))
        (query,) = HealthSearch(session, TENANT).devices(read_conditions([condition]))
        plan = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
        compiled = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
        lines = session.connection().exec_driver_sql(plan + compiled.replace("%%", "%")).all()
    assert index in str(lines)


@settings(max_examples=200)
@given(st.sampled_from(["batt.level_pct", "net.rtt_ms", "prn.paper_out", "x.y"]), st.floats(-1e15, 1e15))
def test_a_value_lies_within_its_interval(metric: str, value: float) -> None:
    low, high = latest.interval(metric, value)
    assert low <= value <= high


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("modem.csq<10", ["modem.csq<10"]),
        ("modem.csq < 10 batt.level_pct>=20.5", ["modem.csq<10", "batt.level_pct>=20.5"]),
        ("modem.csq＜10，batt.level_pct≥20", ["modem.csq<10", "batt.level_pct>=20"]),
        ("sys.state = not charging", ["sys.state=not charging"]),
        ("", []),
    ],
)
def test_conditions_are_read_as_people_write_them(written: str, read: list[str]) -> None:
    assert list(map(str, read_conditions([written]))) == read


@pytest.mark.parametrize(
    "odd", ["modem.csq", "modem.csq<", "modem.csq<x", "a<1,b<1,c<1,d<1,e<1", "a<nan", "A'B<1", "a<inf"]
)
def test_what_is_no_condition_is_refused(odd: str) -> None:
    with pytest.raises(ConditionUnreadable):
        read_conditions([odd])


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        put(engine, {running.fleet.terminal: 5, running.fleet.gateway: 25})
        with transaction(engine) as session:
            put_newest(session, OTHER_TENANT, "d-two-terminal", {METRIC: 5}, NOON)
        yield running


def test_the_api_lists_devices_by_their_newest_values_page_by_page(api: Api) -> None:
    weak = api.get("/api/v1/devices", where="modem.csq<10").json()
    assert [one["id"] for one in weak["items"]] == [api.fleet.terminal]
    seen: list[str] = []
    cursor = None
    while True:
        page = api.get("/api/v1/devices", where="modem.csq>0", limit=1, **({"cursor": cursor} if cursor else {})).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted([api.fleet.terminal, api.fleet.gateway])
    assert (
        api.get("/api/v1/devices", where=["modem.csq>0", "modem.csq<10"]).json()["items"][0]["id"] == api.fleet.terminal
    )
    refused = api.get("/api/v1/devices", where="modem.csq~10")
    assert (refused.status_code, refused.json()["code"]) == (422, "condition_unreadable")


def test_a_text_that_looks_like_an_entry_is_not_taken_for_one(engine: Engine) -> None:
    hostile = '"modem.csq":[1,5,false],'
    with transaction(engine) as session:
        put_newest(session, TENANT, "d-hostile00001", {"a.text": hostile, METRIC: 20}, NOON)
        put_newest(session, TENANT, "d-digits000001", {METRIC: "5,5"}, NOON)
    assert found(engine, "modem.csq>=0") == {"d-hostile00001"}
    assert found(engine, "modem.csq=20") == {"d-hostile00001"}


def test_a_metric_whose_name_ends_in_that_of_another_is_not_taken_for_it(engine: Engine) -> None:
    with transaction(engine) as session:
        put_newest(session, TENANT, "d-both00000001", {f"a.{METRIC}": 3, f"a{METRIC}": 4, METRIC: 20}, NOON)
    # Its interval reaches below 18, so that its value is looked at.
    assert found(engine, f"{METRIC}<18") == set()
    assert found(engine, f"a.{METRIC}<10") == {"d-both00000001"}


@pytest.mark.parametrize("value", [0, -7, 2.5, -0.001, 1e-9, 1.5e300, -123456789012345])
def test_numbers_of_every_form_are_read_as_they_are(engine: Engine, value: float) -> None:
    put(engine, {"d-number000001": value})
    assert found(engine, f"{METRIC}>={value!r}") == found(engine, f"{METRIC}<={value!r}") == {"d-number000001"}
