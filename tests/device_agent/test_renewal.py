from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from device_agent.config import load
from device_agent.core.ports import Dice
from device_agent.renewal import (
    LOOK_EVERY_S,
    REFUSED_BEFORE_ASKING,
    RETRY_CAP_S,
    RETRY_FIRST_S,
    Renewer,
    is_due,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=90)


def test_it_is_due_at_two_thirds_of_the_life_and_not_for_all_at_once() -> None:
    assert not is_due(BEGIN, END, BEGIN + timedelta(days=59), 0.0)
    assert is_due(BEGIN, END, BEGIN + timedelta(days=60), 0.0)
    assert not is_due(BEGIN, END, BEGIN + timedelta(days=60), 0.99)
    assert is_due(BEGIN, END, BEGIN + timedelta(days=65), 0.99)
    assert is_due(BEGIN, END, END + timedelta(days=400), 0.99)


def test_a_broker_that_refuses_whatever_it_is_shown_is_asked_about_less_and_less(tmp_path: Path) -> None:
    bundle = {"link": "d-example0000000", "broker": {"host": "broker.example", "port": 8883}, "root_public": "0" * 64}
    (tmp_path / "enrolment.json").write_bytes(msgspec.json.encode(bundle))
    (tmp_path / "agent.toml").write_text('enrolment = "."\n[host]\nkind = "none"\n', "utf-8")
    refused = REFUSED_BEFORE_ASKING
    dice = Dice(uniform=lambda: 1.0, hex128=lambda: "0" * 32)
    renewer = Renewer(load(tmp_path / "agent.toml"), lambda: 0, lambda: refused, lambda: None, dice)
    waits = [renewer.wait_after_s(renewed=True) for _ in range(12)]
    assert waits == [min(RETRY_CAP_S, RETRY_FIRST_S * 2**n) for n in range(12)]
    # Between two of them nothing was due; that does not mean that it lets anybody in.
    refused = 1
    assert renewer.wait_after_s(renewed=False) == LOOK_EVERY_S
    refused = REFUSED_BEFORE_ASKING
    assert renewer.wait_after_s(renewed=True) == RETRY_CAP_S
    refused = 0
    assert renewer.wait_after_s(renewed=False) == LOOK_EVERY_S
    refused = REFUSED_BEFORE_ASKING
    assert renewer.wait_after_s(renewed=True) == RETRY_FIRST_S
