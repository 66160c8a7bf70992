"""What a device wrote is one line of an event stream, for whatever a reader takes for the end of a line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from fleet_server.timeline.schemas import streamed
from tests.support.hostile import STEERING, steering

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass
class Said:
    data: dict[str, Any]
    id: int | None = 1
    type: str = "security"
    device_id: str = "d-one-terminal"
    execution_id: str | None = None
    actor: str = ""
    at: datetime = NOON
    received_at: datetime = field(default=NOON)


@pytest.mark.parametrize("text", STEERING)
def test_a_text_makes_no_line_of_its_own_and_stays_the_same_text(text: str) -> None:
    sent = streamed(Said({"detail": text})).raw_data
    assert sent is not None
    assert not steering(sent, but="")
    assert len(sent.splitlines()) == 1
    assert json.loads(sent)["data"] == {"detail": text}
