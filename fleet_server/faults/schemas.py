"""HTTP shape of a fault: the code with its meaning, its owner, and the sentence that can be read out."""

from __future__ import annotations

from fleet_server.faults.models import Fault
from fleet_server.kit.schemas import Answer, Moment, Words
from protocol.catalogue import codes


class FaultRead(Answer):
    """``title``, ``advice``, ``say`` and ``owner`` are null for a code that the catalogue does not know."""

    id: str
    device: str
    code: str
    severity: str
    is_open: bool
    raised_at: Moment
    last_seen_at: Moment
    cleared_at: Moment | None
    count: int
    evidence: str
    title: Words | None
    advice: Words | None
    say: Words | None
    owner: str | None


def fault_read(fault: Fault) -> FaultRead:
    meaning = codes.get(fault.code)
    return FaultRead(
        id=fault.id,
        device=fault.device_id,
        code=fault.code,
        severity=fault.severity,
        is_open=fault.is_open,
        raised_at=fault.raised_at,
        last_seen_at=fault.last_seen_at,
        cleared_at=fault.cleared_at,
        count=fault.count,
        evidence=fault.evidence,
        title=None if meaning is None else Words(zh=meaning.title_zh, en=meaning.title_en),
        advice=None if meaning is None else Words(zh=meaning.fix_zh, en=meaning.fix_en),
        say=None if meaning is None else Words(zh=meaning.say_zh, en=meaning.say_en),
        owner=None if meaning is None else meaning.owner.value,
    )
