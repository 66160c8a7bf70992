from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fleet_server.console.language import Language, translations
from fleet_server.console.moments import Calendar, zone_of
from fleet_server.console.view_models.actions import suggested
from fleet_server.console.view_models.device import has_to_wait, headline_first, lead
from fleet_server.faults.models import Fault
from tests.fleet_server.console.declared import ACTIONS, CLOCK, SYNC
from tests.fleet_server.factories import device

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
ENGLISH = Calendar(Language.EN, translations(Language.EN), zone_of("Asia/Shanghai"), NOW)


def fault(code: str, severity: str = "major", minutes_ago: int = 10) -> Fault:
    at = NOW - timedelta(minutes=minutes_ago)
    return Fault(
        id=code, tenant_id="t", device_id="d", code=code, severity=severity, raised_ms=0, raised_at=at,
        last_seen_at=at, is_open=True,
    )  # fmt: skip


def test_the_cause_is_the_headline_though_what_follows_from_it_is_older_and_graver() -> None:
    found = headline_first(
        [fault("agent.NET_DOWN", "critical", 60), fault("term.NET_NO_SIM"), fault("escpos.eot4.near_end", "minor")]
    )
    assert [one.code for one in found] == ["term.NET_NO_SIM", "escpos.eot4.near_end", "agent.NET_DOWN"]


def test_the_lead_says_what_to_press_from_what_the_device_declares() -> None:
    said = lead(
        device("d-1", "s-1", condition="faulty"), [fault("term.CLOCK_INVALID")], ACTIONS, ENGLISH, is_deviating=False
    )
    assert said.mood == "bad"
    assert said.main is not None
    assert said.main.name == SYNC.name
    assert [one.name for one in said.others] == [CLOCK.name]
    assert said.say_zh
    assert said.say_en
    assert said.lasted == "10 min"


def test_nothing_is_suggested_for_a_code_that_no_action_names() -> None:
    assert suggested(ACTIONS, {"term.PRN_NO_PAPER"}) == ([], [])


def test_a_device_without_faults_says_how_it_is_and_asks_for_nothing() -> None:
    moods = {}
    for condition in ("well", "off", "silent", "unknown", "watch", "a later one"):
        said = lead(device("d-1", "s-1", condition=condition), [], ACTIONS, ENGLISH, is_deviating=False)
        moods[condition] = said.mood
        assert said.main is None
    assert moods["well"] == "ok"
    assert moods["unknown"] == moods["a later one"] == "calm"


def test_a_device_whose_readings_deviate_is_not_called_well() -> None:
    said = lead(device("d-1", "s-1", condition="well"), [], ACTIONS, ENGLISH, is_deviating=True)
    assert (said.mood, said.icon) == ("warn", "warn")
    assert "out of their normal range" in said.statement


def test_a_device_behind_a_gateway_that_is_away_is_not_said_to_be_new() -> None:
    away = device("d-1", "s-1", condition="unknown", presence="unknown", presence_reason="gateway")
    assert "gateway" in lead(away, [], ACTIONS, ENGLISH, is_deviating=False).statement


@pytest.mark.parametrize(
    ("presence", "of_gateway", "waits"),
    [
        ("online", None, False),
        ("offline", None, True),
        ("online", "online", False),
        ("unknown", "online", False),
        ("unknown", "offline", True),
    ],
)
def test_only_what_no_agent_can_take_now_has_to_wait(presence: str, of_gateway: str | None, waits: bool) -> None:
    gateway = None if of_gateway is None else device("d-2", "s-1", presence=of_gateway)
    assert has_to_wait(device("d-1", "s-1", presence=presence), gateway) is waits
