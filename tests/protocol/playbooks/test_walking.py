"""Whatever a device says and whenever whoever walks dies: a walk ends, and no step is begun twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.executions import Result
from protocol.parameters import ParamValue
from protocol.playbooks.checking import PlaybookInvalid, check
from protocol.playbooks.language import EndKind, Playbook
from protocol.playbooks.reading import read_playbook, shipped
from protocol.playbooks.timing import Begin, Finish, GiveUp, Hold, PassOn, Present, Walk, next_order
from protocol.playbooks.walking import Heard, Over, Taken, Todo, WalkBroken, Why, follow
from protocol.records import Outcome
from tests.protocol.playbooks.test_language import GOOD

CODES = sorted({code for one in shipped().values() for code in one.codes})
RULES = [rule for one in shipped().values() for step in one.steps for rule in step.then]
ITEMS = sorted({item for rule in RULES if rule.when is not None for item in rule.when.items})
heards = st.builds(
    Heard,
    result=st.sampled_from(list(Result)),
    verdict=st.none() | st.sampled_from(list(Outcome)),
    codes=st.frozensets(st.sampled_from(CODES), max_size=3),
    items=st.dictionaries(st.sampled_from(ITEMS), st.sampled_from(list(Outcome)), max_size=3),
    values=st.dictionaries(st.just("sys.clock_drift_s"), st.integers() | st.floats() | st.text(max_size=3)),
)
playbooks = st.sampled_from([*shipped().values(), read_playbook(GOOD, "example.toml")])


def walked(playbook: Playbook, answers: st.DataObject) -> tuple[list[Taken], Over]:
    taken: list[Taken] = []
    while isinstance(place := follow(playbook, {}, taken), Todo):
        taken.append(Taken(place.step.name, None if place.step.kind is None else answers.draw(heards)))
    return taken, place


@given(playbooks, st.data())
def test_a_walk_ends_and_no_step_is_done_more_often_than_it_may(playbook: Playbook, answers: st.DataObject) -> None:
    taken, over = walked(playbook, answers)
    for name, times in Counter(one.step for one in taken).items():
        step = playbook.step(name)
        assert step is not None
        assert times <= step.times
    assert (over.end is None) == (over.why is Why.NOT_TOLD)


@given(playbooks, st.data())
def test_what_comes_next_depends_on_what_was_done_alone(playbook: Playbook, answers: st.DataObject) -> None:
    taken, over = walked(playbook, answers)
    for count, one in enumerate(taken):
        place = follow(playbook, {}, taken[:count])
        assert isinstance(place, Todo)
        assert place.step.name == one.step
    assert follow(playbook, {}, taken) == over


@given(playbooks, st.data())
def test_silence_is_never_taken_for_a_finding(playbook: Playbook, answers: st.DataObject) -> None:
    taken, over = walked(playbook, answers)
    last = taken[-1].heard
    step = playbook.step(taken[-1].step)
    assert step is not None
    if last is None or last.is_told or over.end is None:
        return
    named = [rule.when for rule in step.then if rule.when is not None and rule.go == over.end.name]
    assert any(last.result in when.result or last.verdict in when.verdict for when in named)
    assert over.end.kind not in {EndKind.FIXED, EndKind.NOTHING_WRONG}


targets = st.sampled_from(["a", "b", "c", "d", "well", "look"])


@st.composite
def any_playbooks(draw: st.DrawFn) -> Playbook | None:
    """Of any shape; None when it is refused."""
    steps = []
    for name in "abcd"[: draw(st.integers(1, 4))]:
        rules = [
            {"when": {"code": [draw(st.sampled_from(CODES))]}, "go": draw(targets)}
            for _ in range(draw(st.integers(0, 2)))
        ]
        step = {"name": name, "title": {"zh": name, "en": name}, "check": "net.path", "within_s": 9}
        step |= {"then": [*rules, {"go": draw(targets)}], "times": draw(st.integers(1, 3))}
        step |= {"spent": draw(targets)} if draw(st.booleans()) else {}
        steps.append(step)
    say = {"zh": "x", "en": "x"}
    ends = [{"name": "look", "as": "undecided", "say": say}, {"name": "well", "as": "undecided", "say": say}]
    whole = {"name": "any", "version": 1, "title": say, "symptom": say, "longest_s": 99, "steps": steps, "ends": ends}
    playbook = msgspec.convert(whole, Playbook)
    try:
        return check(playbook)
    except PlaybookInvalid as refused:
        if all(one.startswith("ends[") for one in refused.wrong):
            return playbook
        return None


@settings(suppress_health_check=[HealthCheck.filter_too_much], max_examples=300)
@given(any_playbooks().filter(lambda one: one is not None), st.data())
def test_whatever_is_let_pass_ends(playbook: Playbook, answers: st.DataObject) -> None:
    taken, _ = walked(playbook, answers)
    assert len(taken) <= sum(step.times for step in playbook.steps)


@given(playbooks, st.data())
def test_in_time_a_walk_is_over_and_nothing_is_begun_twice(playbook: Playbook, data: st.DataObject) -> None:
    """Whoever walks may die at any moment: all that is known is the walk, and orders are asked for any number of
    times. A device answers when it wants; a step that was told to end, ends.
    """
    walk, now, begun = Walk(0.0), 0.0, Counter[int]()
    while not isinstance(order := next_order(playbook, walk, now), Finish):
        assert next_order(playbook, walk, now) == order
        match order:
            case Begin(todo):
                assert walk.present is None
                assert not walk.is_cancelled
                assert now < playbook.longest_s
                begun[len(walk.taken)] += 1
                walk = replace(walk, present=Present(todo.step.name, now))
            case PassOn(name):
                walk = replace(walk, taken=[*walk.taken, Taken(name, None)], present=None)
            case GiveUp():
                assert walk.present is not None
                walk = replace(walk, present=replace(walk.present, is_stopping=True))
            case Hold(until):
                present = walk.present
                assert present is not None
                is_wait = playbook.step(present.step).kind is None  # type: ignore[union-attr]  # it was begun
                answers = not is_wait and (until is None or data.draw(st.booleans()))
                if answers:
                    walk = replace(walk, taken=[*walk.taken, Taken(present.step, data.draw(heards))], present=None)
                else:
                    assert until is not None
                    assert until > now
                    now = until if data.draw(st.booleans()) else now + (until - now) / 2 + 0.1
        if data.draw(st.integers(0, 9)) == 0:
            walk = replace(walk, is_cancelled=True)
    assert now <= playbook.longest_s + 1, "a step that does not answer is given up in time"
    assert set(begun.values()) <= {1}
    assert order.over.why is not Why.CANCELLED or walk.is_cancelled


def step_of(*heard: Heard | None) -> Todo | Over:
    playbook = read_playbook(GOOD, "example.toml")
    taken: list[Taken] = []
    for one in heard:
        place = follow(playbook, {}, taken)
        assert isinstance(place, Todo)
        taken.append(Taken(place.step.name, one))
    return follow(playbook, {}, taken)


def drifted(seconds: ParamValue) -> Heard:
    return Heard(Result.RAN, Outcome.FAIL, values={"sys.clock_drift_s": seconds})


@pytest.mark.parametrize(("seconds", "goes"), [(1200, "sync"), (300, "pause"), (-5.5, "pause"), ("far", "pause")])
def test_a_value_of_a_device_is_kept_when_it_is_of_the_kind(seconds: ParamValue, goes: str) -> None:
    place = step_of(drifted(seconds))
    assert isinstance(place, Todo)
    assert place.step.name == goes


def test_a_variable_fills_a_parameter_with_what_was_given_at_the_start() -> None:
    playbook = read_playbook(GOOD, "example.toml")
    taken = [Taken("clock", drifted(900)), Taken("sync", Heard(Result.NOT_FIXED))]
    given_by: Mapping[str, ParamValue] = {"apn": "cmiot"}
    place = follow(playbook, given_by, taken)
    assert isinstance(place, Todo)
    assert place.params == {"name": "apn", "value": "cmiot"}


def test_a_step_that_is_used_up_leads_where_its_spent_says() -> None:
    warned = Heard(Result.RAN, Outcome.WARN)
    place = step_of(warned, None, warned, None, warned, None)
    assert isinstance(place, Over)
    assert place.end is not None
    assert place.end.name == "look"


@pytest.mark.parametrize("result", [Result.NO_ANSWER, Result.NOT_RUN, Result.NOTHING_DONE, Result.NOT_TOLD])
def test_what_was_not_told_ends_the_walk_undecided(result: Result) -> None:
    place = step_of(Heard(result))
    assert isinstance(place, Over)
    assert place.why is Why.NOT_TOLD


def test_what_is_no_walk_of_the_playbook_is_refused() -> None:
    playbook = read_playbook(GOOD, "example.toml")
    with pytest.raises(WalkBroken):
        follow(playbook, {}, [Taken("sync", Heard(Result.FIXED))])
    with pytest.raises(WalkBroken):
        next_order(playbook, Walk(0.0, present=Present("sync", 0.0)), 1.0)
