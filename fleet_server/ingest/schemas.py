"""HTTP shapes of what could not be understood."""

from __future__ import annotations

from fleet_server.ingest.dead_letters import Unread
from fleet_server.kit.schemas import Answer, Moment


class DeadLetterRead(Answer):
    """``stream`` and ``seq`` are those of a record; null where a whole message was not understood."""

    id: int
    link: str
    kind: str
    stream: str | None
    seq: int | None
    reason: str
    detail: str
    content_type: str
    size_bytes: int
    received_at: Moment


def dead_letter_read(letter: Unread) -> DeadLetterRead:
    return DeadLetterRead(
        id=letter.id,
        link=letter.link_id,
        kind=letter.topic_kind,
        stream=letter.stream,
        seq=letter.seq,
        reason=letter.reason,
        detail=letter.detail,
        content_type=letter.content_type,
        size_bytes=letter.size_bytes,
        received_at=letter.received_at,
    )
