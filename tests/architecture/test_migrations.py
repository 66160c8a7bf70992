"""Steps of the database are one row of numbers: two of the same number would be two databases."""

from __future__ import annotations

import re

from fleet_server.schema import MIGRATIONS


def test_each_step_follows_the_one_before() -> None:
    steps = sorted((MIGRATIONS / "versions").glob("[0-9]*_*.py"))
    found = []
    for step in steps:
        said = step.read_text("utf-8")
        revision = re.search(r'^revision = "(\d{4})"$', said, re.MULTILINE)
        before = re.search(r'^down_revision = (?:"(\d{4})"|None)$', said, re.MULTILINE)
        assert revision is not None, step.name
        assert before is not None, step.name
        found.append((step.name[:4], revision[1], before[1]))
    numbers = [f"{number:04}" for number in range(1, len(steps) + 1)]
    assert found == list(zip(numbers, numbers, [None, *numbers[:-1]], strict=True))
