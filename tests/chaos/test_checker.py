"""The checker is held to its rules with histories that break them one by one."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from protocol.records import SpoolLost, Tombstone
from tests.chaos.checker import Row, Stored, Verdict, check, check_promises
from tests.chaos.history import History, Intent, Place, Standing

LINK = "term-0001"
STREAM = "a" * 32
KEPT = ("raised:chaos.0", "cleared:chaos.0", "verdict:chaos.1")
TOLD = {("fault_raised", "chaos.0"): 1, ("fault_cleared", "chaos.0"): 1, ("verdict", "chaos.1"): 1}


def history(*marks: str, acked: int | None = None, standing: Standing = Standing.KEPT) -> History:
    intents = [Intent("urgent", mark, standing, STREAM, seq) for seq, mark in enumerate(marks, 1)]
    last = len(marks)
    place = Place(STREAM, last=last, acked=last if acked is None else acked)
    return History(LINK, intents, places={"urgent": place}, is_fed=True)


def stored(*marks: str, first: int = 1) -> Stored:
    rows = [Row(LINK, STREAM, seq, mark) for seq, mark in enumerate(marks, first)]
    told = Counter({(LINK, type_, what): count for (type_, what), count in TOLD.items()})
    faults = Counter({(LINK, "chaos.0"): 1})
    return Stored(rows, told=told, faults=faults, watermarks={(LINK, STREAM): len(marks)})


def judged(agent: History, server: Stored) -> Verdict:
    return check([agent], server, [agent])


def rules(agent: History, server: Stored) -> set[str]:
    return {one.rule for one in judged(agent, server).violations}


def test_what_was_kept_and_is_there_once_is_good() -> None:
    verdict = judged(history(*KEPT), stored(*KEPT))
    assert (verdict.violations, verdict.records, verdict.stored, verdict.declared) == ([], 3, 3, 0)


def test_a_lost_record_is_found() -> None:
    server = stored(*KEPT[:2])
    server.told[LINK, "verdict", "chaos.1"] = 0
    assert rules(history(*KEPT), server) == {"lost", "ack_ahead"}


def test_a_record_that_the_agent_has_still_to_send_is_late_and_not_lost() -> None:
    server = stored(*KEPT[:2])
    server.told[LINK, "verdict", "chaos.1"] = 0
    verdict = judged(history(*KEPT, acked=2), server)
    assert verdict.counts == {"late": 1}
    assert {one.rule for one in verdict.violations} == {"late"}


def test_a_record_of_a_stream_that_the_agent_has_left_is_lost() -> None:
    server = stored(*KEPT[:2])
    server.told[LINK, "verdict", "chaos.1"] = 0
    agent = history(*KEPT)
    agent.places["urgent"] = Place("b" * 32)
    assert rules(agent, server) == {"lost"}


def test_a_doubled_record_is_found_under_whatever_number() -> None:
    server = stored(*KEPT, "verdict:chaos.1")
    assert rules(history(*KEPT), server) == {"doubled", "effect"}


def test_an_invented_record_is_found() -> None:
    server = stored(*KEPT, "~0123")
    assert rules(history(*KEPT), server) == {"invented"}


def test_a_record_of_a_link_that_nobody_is_is_invented() -> None:
    server = stored(*KEPT)
    server.rows.append(Row("term-0002", "b" * 32, 1, "~0123"))
    assert "invented" in rules(history(*KEPT), server)


def test_what_a_killed_agent_was_about_to_keep_may_be_there_or_not() -> None:
    agent = history(*KEPT)
    agent.intents.append(Intent("urgent", "~0123"))
    assert rules(agent, stored(*KEPT)) == set()
    assert rules(agent, stored(*KEPT, "~0123")) == set()


def test_what_the_spool_refused_may_not_be_there() -> None:
    agent = history(*KEPT)
    agent.intents.append(Intent("urgent", "~0123", Standing.REFUSED))
    assert rules(agent, stored(*KEPT, "~0123")) == {"invented"}


def given_up(count: int = 1) -> tuple[History, Stored]:
    """The last record was given up; the declaration has the number after it."""
    agent, server = history(*KEPT), stored(*KEPT[:2])
    server.told[LINK, "verdict", "chaos.1"] = 0
    server.tombstones.append((LINK, Tombstone(STREAM, 3, 3, 2, count, "no room")))
    server.gaps.append((LINK, STREAM, 3, 3))
    server.rows.append(Row(LINK, STREAM, 4, "~dec1"))
    server.watermarks[LINK, STREAM] = 4
    agent.declared.append("~dec1")
    agent.places["urgent"] = Place(STREAM, last=4, shed=1, acked=4)
    return agent, server


def test_what_was_given_up_is_covered_by_its_declaration() -> None:
    agent, server = given_up()
    verdict = judged(agent, server)
    assert (verdict.violations, verdict.declared) == ([], 1)


def test_a_declaration_that_counts_wrong_is_found() -> None:
    assert rules(*given_up(count=2)) == {"shed_count"}


def test_a_declaration_may_cover_one_that_was_given_up_with_the_rest() -> None:
    agent, server = given_up()
    server.tombstones[0] = (LINK, Tombstone(STREAM, 3, 4, 2, 1, "no room"))
    server.gaps[0] = (LINK, STREAM, 3, 4)
    server.rows[-1] = Row(LINK, STREAM, 5, "~dec1")
    server.watermarks[LINK, STREAM] = 5
    assert rules(agent, server) == set()


def test_a_loss_that_was_not_declared_is_found_though_others_were() -> None:
    agent, server = given_up()
    server.gaps[0] = (LINK, STREAM, 2, 2)
    assert "lost" in rules(agent, server)


def test_a_declaration_that_a_database_set_back_has_forgotten_may_be_missing() -> None:
    agent, server = given_up()
    server.tombstones.clear()
    assert "shed_count" in rules(agent, server)
    assert check([agent], server, [agent], is_set_back=True).violations == []


def test_a_lost_spool_covers_what_its_streams_held() -> None:
    agent = history(*KEPT)
    agent.places["urgent"] = Place("b" * 32)
    server = dataclasses.replace(stored(), told=Counter(), faults=Counter())
    server.losses.append((LINK, SpoolLost(STREAM, 3, 0)))
    verdict = judged(agent, server)
    assert (verdict.violations, verdict.declared) == ([], 3)


@pytest.mark.parametrize("count", [0, 2])
def test_an_effect_that_did_not_happen_once_is_found(count: int) -> None:
    told, faults = stored(*KEPT), stored(*KEPT)
    told.told[LINK, "fault_raised", "chaos.0"] = count
    faults.faults[LINK, "chaos.0"] = count
    assert rules(history(*KEPT), told) == {"effect"}
    assert rules(history(*KEPT), faults) == {"effect"}


def test_an_acknowledgement_ahead_of_the_database_is_found() -> None:
    server = stored(KEPT[0], KEPT[1])
    server.rows.append(Row(LINK, STREAM, 4, KEPT[2]))
    assert check_promises([history(*KEPT, acked=2)], server) == []
    assert [one.rule for one in check_promises([history(*KEPT, acked=4)], server)] == ["ack_ahead"]


def test_a_watermark_beside_the_truth_is_found() -> None:
    server = stored(*KEPT)
    server.watermarks[LINK, STREAM] = 4
    assert rules(history(*KEPT), server) == {"watermark"}


def test_dead_letters_and_executions_without_end_are_found() -> None:
    server = stored(*KEPT)
    server.dead.append((LINK, "not_decodable"))
    server.open_executions.append(("e1", "RUNNING"))
    assert rules(history(*KEPT), server) == {"refused", "open_execution"}


def test_of_many_violations_all_are_counted_and_a_few_told() -> None:
    marks = [f"~{number}" for number in range(100)]
    verdict = judged(history(*KEPT, *marks, acked=3), stored(*KEPT))
    assert verdict.counts["late"] == 100
    assert len(verdict.violations) == 5
