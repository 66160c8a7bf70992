"""A driver's answer to an order: done, or the reason why the fix failed."""

from __future__ import annotations

from device_agent.drivers.results import Answer
from device_agent.errors import ActionFailed


def require_done(answer: Answer) -> None:
    if not answer.is_done:
        raise ActionFailed(answer.code or answer.outcome.value, answer.evidence[:300])
