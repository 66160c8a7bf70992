"""What a presence means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleet_server.devices.presence import Judgement, Presence, Reason, allowance, expected_by, judge

CHANCES = st.none() | st.floats(0.0, 1.0)
REASONS = st.sampled_from([*Reason, "stopped", ""])


@given(REASONS, CHANCES)
def test_who_is_online_is_online_at_any_hour(reason: str, trading: float | None) -> None:
    assert judge(Presence.ONLINE, reason, trading) is Judgement.ONLINE


@given(st.sampled_from([Presence.OFFLINE, Presence.UNKNOWN]), REASONS, CHANCES)
def test_silence_is_blamed_only_on_a_device_that_should_trade(
    presence: Presence, reason: str, trading: float | None
) -> None:
    judged = judge(presence, reason, trading)
    if judged is Judgement.SILENT_WHILE_TRADING:
        assert trading is not None
        assert trading >= 0.5
        assert reason != Reason.GATEWAY
    if trading is None or reason == Reason.GATEWAY:
        assert judged is Judgement.NOT_KNOWN
    elif trading < 0.5:
        assert judged is Judgement.OFF_AS_USUAL


def test_a_link_is_missed_after_its_report_interval_and_one_and_a_half_keepalives() -> None:
    assert allowance(5.0, 10.0) == timedelta(seconds=20)
    heard_at = datetime(2026, 3, 2, tzinfo=UTC)
    assert expected_by(heard_at, 1800.0, 600.0) == heard_at + timedelta(minutes=45)
