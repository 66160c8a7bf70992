"""One word for how a device is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.devices.condition import Condition, OpenFault, condition_of, worst_code
from fleet_server.devices.presence import Judgement
from protocol.catalogue import codes
from protocol.catalogue.vocabulary import Owner, Severity

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CARDHOLDER = next(code for code in codes.all() if code.owner is Owner.CARDHOLDER)
CAUSE = next(code for code in codes.all() if any(codes.get(hidden) for hidden in code.hides))


def fault(code: str, severity: Severity = Severity.MAJOR, ago_s: int = 10) -> OpenFault:
    return OpenFault(code, severity, NOW - timedelta(seconds=ago_s))


@pytest.mark.parametrize(
    ("judgement", "expected"),
    [
        (Judgement.ONLINE, Condition.WELL),
        (Judgement.SILENT_WHILE_TRADING, Condition.SILENT),
        (Judgement.OFF_AS_USUAL, Condition.OFF),
        (Judgement.NOT_KNOWN, Condition.UNKNOWN),
    ],
)
def test_without_faults_presence_decides(judgement: Judgement, expected: Condition) -> None:
    assert condition_of(judgement, []) is expected


@given(st.sampled_from(Judgement), st.sampled_from([Severity.MAJOR, Severity.CRITICAL]))
def test_a_severe_fault_of_the_device_stands_above_presence(judgement: Judgement, severity: Severity) -> None:
    assert condition_of(judgement, [fault("agent.APP_DEAD", severity)]) is Condition.FAULTY


def test_lesser_faults_are_watched_and_information_is_not_a_fault() -> None:
    assert condition_of(Judgement.ONLINE, [fault("agent.APP_DEAD", Severity.MINOR)]) is Condition.WATCH
    assert condition_of(Judgement.ONLINE, [fault("agent.APP_DEAD", Severity.INFO)]) is Condition.WELL


def test_what_the_cardholder_has_to_mend_is_not_the_devices_condition() -> None:
    assert condition_of(Judgement.ONLINE, [fault(CARDHOLDER.id, Severity.CRITICAL)]) is Condition.WELL


def test_a_code_nobody_knows_is_the_devices_matter() -> None:
    assert condition_of(Judgement.ONLINE, [fault("new.CODE")]) is Condition.FAULTY


def test_the_cause_is_named_before_its_consequences() -> None:
    hidden = next(one for one in CAUSE.hides if codes.get(one))
    faults = [fault(hidden, Severity.CRITICAL, ago_s=99), fault(CAUSE.id, Severity.MINOR)]
    assert worst_code(faults) == CAUSE.id


def test_of_equals_the_oldest_is_named_and_of_none_nothing() -> None:
    faults = [fault("new.B", ago_s=5), fault("new.A", ago_s=50), fault("new.C", Severity.MINOR, ago_s=500)]
    assert worst_code(faults) == "new.A"
    assert worst_code([]) == ""


def test_ranks_follow_the_order_in_which_attention_is_wanted() -> None:
    assert sorted(Condition, key=lambda one: one.rank) == list(Condition)
    assert (Condition.FAULTY.rank, Condition.UNKNOWN.rank) == (0, 5)
