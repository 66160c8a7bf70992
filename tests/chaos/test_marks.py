"""A record has the same mark in a spool and in the database."""

from __future__ import annotations

import numpy as np

from fleet_server.health.packing import pack
from protocol import codec
from protocol.identifiers import DeviceId
from protocol.records import FaultCleared, FaultRaised, HealthColumns, Outcome, Record, Severity, Verdict
from tests.chaos.marks import METRIC, PREFIX, Columns, mark_of, mark_of_columns, mark_of_payload
from tests.support.health_blocks import samples


def test_what_was_made_for_a_run_is_known_by_its_own_words() -> None:
    assert mark_of(FaultRaised(f"{PREFIX}7", Severity.MINOR, 1, 1)) == "raised:chaos.7"
    assert mark_of(FaultCleared(f"{PREFIX}7", 1, 2)) == "cleared:chaos.7"
    assert mark_of(Verdict("agent.echo", Outcome.PASS, evidence=f"{PREFIX}9")) == "verdict:chaos.9"


def test_a_record_in_a_spool_has_the_mark_of_its_body() -> None:
    body = FaultRaised("agent.SPOOL_SHED", Severity.MINOR, 1, 1)
    payload = codec.to_json(Record(DeviceId("term-0001"), "a" * 32, 1, 1, body))
    assert mark_of_payload(payload) == mark_of(body)
    assert mark_of(body) != mark_of(FaultRaised("agent.SPOOL_SHED", Severity.MINOR, 1, 2))


def test_samples_have_the_mark_that_they_were_made_with() -> None:
    made: list[Columns] = [{METRIC: [17]}, {"agent.queue_depth": [3, None], "sys.mem_free_mb": [1.5, 2.25]}]
    for columns in made:
        body = HealthColumns(1, 1000, len(next(iter(columns.values()))), columns)
        numbers = {
            name: np.array([np.nan if one is None else one for one in column], dtype=np.float64)
            for name, column in columns.items()
        }
        assert mark_of_columns(samples(pack(numbers))) == mark_of(body)
    assert mark_of_columns(made[0]) == "health:17"
