"""Inspections while a freeze is in force."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fleet_server.db import transaction
from fleet_server.freezes.models import Freeze
from fleet_server.inspections import keeping
from tests.fleet_server.factories import TENANT
from tests.fleet_server.inspections.test_keeping import CLOSES_AT, MIDNIGHT, OPENS_AT, Night


def freeze(night: Night, ends_at: datetime) -> None:
    with transaction(night.engine) as session:
        row = Freeze(
            id="f-1",
            tenant_id=TENANT,
            begins_at=MIDNIGHT,
            ends_at=ends_at,
            reason="National Day",
            created_by="boss",
            created_at=MIDNIGHT,
        )
        session.merge(row)


def test_a_freeze_holds_no_inspection_that_only_looks(night: Night) -> None:
    night.make("agent.echo")
    freeze(night, CLOSES_AT + timedelta(days=1))
    night.go(CLOSES_AT)
    assert {row.action for row in night.asked()} == {"agent.echo"}


@pytest.fixture
def bold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspections ask for nothing that changes a device: that they do is the only thing made up here."""
    monkeypatch.setattr(keeping, "is_asked_for", lambda action: action.name in {"agent.echo", "app.restart"})


@pytest.mark.usefixtures("bold")
def test_what_is_more_than_a_look_waits_for_the_end_of_a_freeze(night: Night) -> None:
    night.make("agent.echo", "app.restart")
    freeze(night, OPENS_AT + timedelta(minutes=55))
    night.go(OPENS_AT + timedelta(minutes=54))
    assert {row.action for row in night.asked()} == {"agent.echo"}
    assert {turn.state for turn in night.turns().values()} == {"waiting"}
    night.go(CLOSES_AT - timedelta(minutes=1))
    assert {row.action for row in night.asked()} == {"agent.echo", "app.restart"}
    assert {turn.state for turn in night.turns().values()} == {"asked"}


@pytest.mark.usefixtures("bold")
def test_what_a_freeze_held_until_its_window_closed_was_missed_because_of_it(night: Night) -> None:
    inspection = night.make("agent.echo", "app.restart")
    freeze(night, CLOSES_AT)
    night.go(CLOSES_AT + timedelta(minutes=2))
    assert {row.action for row in night.asked()} == {"agent.echo"}
    assert {(turn.state, turn.reason) for turn in night.turns().values()} == {("missed", "freeze")}
    assert dict(night.rounds(inspection)[0].missed) == {"freeze": 2}
