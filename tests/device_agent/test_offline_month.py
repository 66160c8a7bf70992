"""A terminal that is cut off for long, in a spool that is soon too small: the short form of the benchmark."""

from __future__ import annotations

import pytest

from tests.benchmarks.offline_month import Outcome, Plan, played

HOUR_S = 3600.0
QUOTA_BYTES = 768 * 1024


@pytest.fixture(scope="module", params=["samples", "faults"])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    fault_s = 300.0 if request.param == "samples" else 6.0
    return played(Plan(3 * HOUR_S, 12.0, fault_s, QUOTA_BYTES), tmp_path_factory.mktemp("month"))


def test_spool_stays_within_its_quota(outcome: Outcome) -> None:
    assert 0 < outcome.largest_bytes <= QUOTA_BYTES


def test_no_urgent_record_is_given_up_while_samples_are_held(outcome: Outcome) -> None:
    assert outcome.given_up > 0
    assert outcome.misplaced == 0


def test_what_was_given_up_is_counted_and_declared_exactly(outcome: Outcome) -> None:
    assert outcome.declared == outcome.given_up
    assert outcome.unexplained == 0
