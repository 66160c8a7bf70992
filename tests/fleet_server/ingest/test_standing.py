from __future__ import annotations

import pytest
from sqlalchemy import Engine

from fleet_server.db import reading
from fleet_server.ingest.gaps import SHOWN_AFTER
from fleet_server.ingest.standing import Standing, standing_of
from protocol.records import Outcome, Verdict
from protocol.session import StreamPosition
from protocol.streams import StreamKind
from tests.support.fleet_rows import OTHER, TERMINAL, make_fleet
from tests.support.flush_rig import BULK, URGENT, FlushRig

VERDICT = Verdict("net.path", Outcome.PASS)


@pytest.fixture
def rig(engine: Engine) -> FlushRig:
    make_fleet(engine)
    return FlushRig(engine)


def standing(rig: FlushRig, link: str = TERMINAL) -> Standing:
    with reading(rig.engine) as session:
        return standing_of(session, "default", link, rig.now)


def test_what_was_given_up_is_what_the_agent_counted_over_both_streams(rig: FlushRig) -> None:
    positions = [
        StreamPosition(URGENT, StreamKind.URGENT, 9, 5, 4, 3),
        StreamPosition(BULK, StreamKind.BULK, 900, 600, 4, 590),
    ]
    rig.flush(rig.hello(TERMINAL, positions=positions))
    assert standing(rig) == Standing(593, ())
    assert standing(rig, OTHER) == Standing(0, ())


def test_a_gap_counts_once_it_has_lasted_and_until_it_is_filled(rig: FlushRig) -> None:
    rig.flush(rig.batch(TERMINAL, 4, VERDICT))
    since = rig.now
    assert standing(rig).open_gaps == ()
    rig.pass_time(SHOWN_AFTER.total_seconds() + 1)
    (gap,) = standing(rig).open_gaps
    assert (gap.since, gap.records) == (since, 3)
    rig.flush(rig.batch(TERMINAL, 1, *[VERDICT] * 3))
    assert standing(rig).open_gaps == ()
