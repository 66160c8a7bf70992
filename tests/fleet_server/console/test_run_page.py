from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from fastapi import FastAPI

from fleet_server.console.language import Language, translations
from fleet_server.console.moments import Calendar, zone_of
from fleet_server.console.view_models.run import run_view
from protocol import codec
from protocol.capabilities import Step, StepNature
from protocol.executions import FINAL, ExecutionState
from protocol.parameters import Words
from protocol.signing import SigningKey, sign
from protocol.stops import STOP_TYPE, StopOrder
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.console.declared import SYNC
from tests.fleet_server.console.history import execution as a_run
from tests.fleet_server.console.history import run_id

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
ENGLISH = Calendar(Language.EN, translations(Language.EN), zone_of("Asia/Shanghai"), NOW)


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_no_run_in_any_state_shows_an_internal_name(browser: Browser, language: str) -> None:
    client = browser("viewer", language=language)
    for state in ExecutionState:
        html = client.get(f"/runs/{run_id(state)}").text
        assert not [name for name in ExecutionState if f">{name.value}<" in html or f" {name.value} " in html]


def test_the_shield_stands_only_on_the_page_of_a_fix_that_was_proved(browser: Browser) -> None:
    client = browser("viewer", language="en")
    proved = {state for state in ExecutionState if "Proved." in client.get(f"/runs/{run_id(state)}").text}
    assert proved == {ExecutionState.SUCCEEDED}


def test_before_and_after_show_the_first_check_before_and_the_last_one_after(browser: Browser) -> None:
    html = browser("viewer", language="en").get(f"/runs/{run_id(ExecutionState.SUCCEEDED)}").text
    table = html[html.index("tbl ba") : html.index("</table>", html.index("tbl ba"))]
    assert "−212,975,940" in table
    assert "0.2" in table
    assert "0.3" not in table
    assert "±30" in table
    assert "2 / 2" in table


def test_why_a_run_failed_is_said_in_words_and_what_the_device_wrote_is_folded_under_them(browser: Browser) -> None:
    html = browser("viewer").get(f"/runs/{run_id(ExecutionState.FAILED)}").text
    said = html[html.index("修复后的检查没有通过") :]
    assert said.index("<summary>原始证据</summary>") < said.index("clock.read: 900 s after 5 s")
    assert "post_check_failed" not in html


@pytest.mark.parametrize(
    ("step", "index", "state", "shown"),
    [
        ("read_before", 0, "RUNNING", ["to come", "to come"]),  # the check before the first step
        ("first", 0, "RUNNING", ["running", "to come"]),
        ("second", 1, "RUNNING", ["done", "running"]),
        ("first", 0, "FAILED", ["stopped here", "not begun"]),
        ("first", 1, "CANCELLED", ["done", "not begun"]),
        ("read_after", 2, "FAILED", ["done", "done"]),
    ],
)
def test_each_step_says_how_far_it_came(step: str, index: int, state: str, shown: list[str]) -> None:
    words = Words("步骤", "Step")
    action = msgspec.structs.replace(
        SYNC, steps=[Step(name, words, StepNature.IDEMPOTENT) for name in ("first", "second")]
    )
    execution = a_run(ExecutionState(state), action, NOW)
    execution.step, execution.step_index = step, index
    assert [row.value for row in run_view(execution, [], ENGLISH, {}).steps] == shown


def test_a_run_that_has_ended_is_not_streamed_and_cannot_be_cancelled(browser: Browser) -> None:
    client = browser("operator", language="en")
    for state in ExecutionState:
        html = client.get(f"/runs/{run_id(state)}").text
        assert ("hx-sse:connect" in html) == (state not in FINAL), state
        assert (f"/runs/{run_id(state)}/cancel" in html) == (state not in FINAL), state


def test_evidence_is_folded_under_each_result(browser: Browser) -> None:
    html = browser("viewer", language="en").get(f"/runs/{run_id(ExecutionState.SUCCEEDED, 2)}").text
    assert "clock.read  device=2019-01-01T03:21:58" in html
    assert "Clock invalid" in html
    assert "Not possible on this device" in html


def test_a_run_that_waits_for_people_says_for_whom(browser: Browser, console_app: FastAPI) -> None:
    client = browser("support", language="en")
    waiting = run_id(ExecutionState.AWAITING_APPROVAL)
    html = client.get(f"/runs/{waiting}").text
    assert f"fleet-server approve {waiting} --key FILE" in html
    assert "On the approval page" not in html
    state = console_app.state
    state.settings = replace(state.settings, approval_url="https://approve.example")
    html = client.get(f"/runs/{waiting}").text
    assert f'<a href="https://approve.example/#{waiting}" target="_blank" rel="noopener noreferrer">' in html
    consent = client.get(f"/runs/{run_id(ExecutionState.AWAITING_CONSENT)}").text
    assert 'name="code"' in consent
    assert (
        'name="code"'
        not in browser("viewer", language="en").get(f"/runs/{run_id(ExecutionState.AWAITING_CONSENT)}").text
    )


def test_every_page_says_that_signing_was_stopped_until_it_is_lifted(browser: Browser, tmp_path: Path) -> None:
    key = SigningKey.from_seed(b"c" * 32)
    client = browser("viewer", language="en")
    place = tmp_path / "server" / "stops" / "default.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    for lifts, shown in ((False, True), (True, False)):
        order = StopOrder("default", 1, 0, lifts=lifts, reason="<b>odd</b>")
        place.write_bytes(codec.to_json(sign(STOP_TYPE, codec.to_json(order), [key])))
        html = client.get("/runs").text
        assert ("Emergency stop" in html) is shown
        assert "<b>odd</b>" not in html
