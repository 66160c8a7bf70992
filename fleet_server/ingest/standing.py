"""How the streams of a link stand, for whoever reads: what its agent gave up, and what is waited for. No locks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from fleet_server.ingest import gaps, watermarks


@dataclass(frozen=True, slots=True)
class OpenGap:
    since: datetime
    records: int


@dataclass(frozen=True, slots=True)
class Standing:
    """``given_up``: as the agent counted when it last connected, over all spools that it has had."""

    given_up: int
    open_gaps: tuple[OpenGap, ...]


def standing_of(session: Session, tenant_id: str, link_id: str, now: datetime) -> Standing:
    """A gap of a moment is normal, for workers commit in any order: it counts from when the timeline shows it."""
    states = watermarks.read_link(session, tenant_id, link_id)
    open_gaps = [
        OpenGap(state.gap_since, sum(span.last - span.first + 1 for span in state.received.missing()))
        for state in states
        if state.gap_since is not None and state.gap_since < now - gaps.SHOWN_AFTER
    ]
    return Standing(sum(state.shed for state in states), tuple(open_gaps))
