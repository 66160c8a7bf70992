from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.console.language import Language, translations
from fleet_server.console.moments import Calendar, zone_of
from fleet_server.console.view_models.results import result_row
from fleet_server.console.view_models.timeline import FILTERS, entries

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
ENGLISH = Calendar(Language.EN, translations(Language.EN), zone_of("Asia/Shanghai"), NOW)
CHINESE = Calendar(Language.ZH, translations(Language.ZH), zone_of("Asia/Shanghai"), NOW)
TITLES = {"net.path": "Network path", "device.full_check": "Full check"}
KINDS = sorted({name for _, types in FILTERS.values() for name in types})


@dataclass
class Happened:
    type: str
    data: dict[str, Any] = field(default_factory=dict)
    execution_id: str | None = None
    at: datetime = NOW
    id: int | None = 1
    device_id: str = "d"
    actor: str = ""


json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
names = st.sampled_from(
    [
        "code",
        "severity",
        "evidence",
        "status",
        "reason",
        "lasted_s",
        "action",
        "kind",
        "state",
        "metrics",
        "first",
        "last",
        "count",
        "text",
        "detail",
        "item",
        "value",
        "unit",
        "limits",
        "codes",
        "duration_ms",
        "outcome",
        "phase",
    ]
)


@settings(max_examples=120)
@given(kind=st.sampled_from([*KINDS, "of a later version"]), data=st.dictionaries(names, json, max_size=8))
def test_whatever_an_event_holds_it_becomes_a_line_of_text(kind: str, data: dict[str, Any]) -> None:
    for calendar in (ENGLISH, CHINESE):
        assert entries([Happened(kind, data)], calendar, TITLES)[0].clock == "14:00:00"


def test_repeats_are_folded_with_their_number() -> None:
    raised = [Happened("fault_raised", {"code": "term.TLS_HANDSHAKE"}, id=n) for n in range(14)]
    folded = entries(raised, ENGLISH, TITLES)
    assert [entry.count for entry in folded] == [14]
    assert len(folded[0].lines) == 14


def test_repeats_of_two_days_stay_apart() -> None:
    raised = [Happened("fault_raised", {"code": "term.X"}, at=NOW - timedelta(days=n)) for n in range(2)]
    assert len(entries(raised, ENGLISH, TITLES)) == 2


def test_results_of_a_run_stand_under_its_name() -> None:
    run = [
        Happened("verdict", {"action": "net.path", "item": "dns", "outcome": "pass"}, "r-1"),
        Happened("execution", {"action": "net.path", "kind": "check", "state": "RUNNING"}, "r-1"),
        Happened("execution", {"action": "net.path", "kind": "check", "state": "QUEUED"}, "r-1"),
    ]
    folded = entries(run, ENGLISH, TITLES)
    assert [entry.text for entry in folded] == ["Network path: Running"]
    assert folded[0].href == "/runs/r-1"


def test_silence_in_the_timeline_does_not_claim_that_the_shop_should_trade() -> None:
    behind_gateway = entries([Happened("presence", {"status": "silent", "reason": "gateway"})], ENGLISH, {})
    assert [(one.text, one.sub) for one in behind_gateway] == [("Nothing is heard of it", "its gateway is offline")]


def test_a_run_is_one_line_though_something_else_came_between() -> None:
    run = {"action": "net.path", "kind": "check"}
    mixed = [
        Happened("execution", {**run, "state": "SUCCEEDED"}, "r-1"),
        Happened("note", {"text": "in between"}),
        Happened("execution", {**run, "state": "QUEUED"}, "r-1"),
    ]
    assert [(entry.text, entry.count) for entry in entries(mixed, ENGLISH, TITLES)] == [
        ("Network path: Done", 2),
        ("in between", 1),
    ]


def test_an_item_of_a_full_check_names_its_check_and_its_part() -> None:
    row = result_row(
        {"item": "net.path dns", "action": "device.full_check", "value": 12.0, "unit": "ms"}, ENGLISH, TITLES
    )
    assert (row.title, row.value, row.unit) == ("Network path · Name resolution", "12", "ms")
    row = result_row({"item": "net.path net.rtt_ms", "value": 38, "unit": "ms"}, CHINESE, TITLES)
    assert (row.title, row.value, row.unit) == ("Network path · 往返时延", "38", "毫秒")


def test_a_gap_says_how_many_records_it_was_and_why_they_are_gone() -> None:
    declared = {"state": "declared", "first": 5, "last": 90, "count": 7}
    told = [
        entries([Happened("gap", {**declared, "reason": reason})], ENGLISH, TITLES)[0]
        for reason in ("no_room", "set_back", "spool_lost")
    ]
    assert {one.sub for one in told} == {"7 records"}
    assert ["the device gave it up" in told[0].text, "went back" in told[1].text, "damaged" in told[2].text] == [
        True
    ] * 3


def test_a_measured_value_and_what_is_required_of_it_have_their_unit() -> None:
    measured = Happened("reading", {"metrics": {"sys.storage_free_pct": 8.5371, "net.rtt_ms": 612.0}})
    assert [one.sub for one in entries([measured], ENGLISH, {})] == ["Round trip time 612 ms; Storage free 8.54 %"]
    row = result_row({"item": "net.path net.rtt_ms", "value": 38, "unit": "ms", "limits": {"high": 600}}, CHINESE, {})
    assert row.limits == "≤ 600 毫秒"
