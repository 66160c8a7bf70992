from __future__ import annotations

from datetime import UTC, datetime, timedelta

from device_agent.renewal import is_due

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=90)


def test_it_is_due_at_two_thirds_of_the_life_and_not_for_all_at_once() -> None:
    assert not is_due(BEGIN, END, BEGIN + timedelta(days=59), 0.0)
    assert is_due(BEGIN, END, BEGIN + timedelta(days=60), 0.0)
    assert not is_due(BEGIN, END, BEGIN + timedelta(days=60), 0.99)
    assert is_due(BEGIN, END, BEGIN + timedelta(days=65), 0.99)
    assert is_due(BEGIN, END, END + timedelta(days=400), 0.99)
