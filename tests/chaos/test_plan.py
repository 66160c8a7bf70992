"""A plan is what its seed says, on every machine."""

from __future__ import annotations

import msgspec

from tests.chaos.plan import DATABASE, FEED_S, SIGNER, Fault, Plan, plan_for

SEEDS = range(1, 301)


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan_for(17) == plan_for(17)
    assert plan_for(17) != plan_for(18)


def test_a_plan_survives_being_written_down() -> None:
    plan = plan_for(17)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_every_fault_has_its_turn() -> None:
    planned = {step.fault for seed in SEEDS for step in plan_for(seed).steps}
    assert planned == set(Fault)


def test_who_signs_is_killed_and_stopped_as_well() -> None:
    done = {step.fault for seed in SEEDS for step in plan_for(seed).steps if step.target == SIGNER}
    assert done == {Fault.KILL, Fault.STOP}


def test_every_fifth_run_is_on_sqlite_and_none_of_those_needs_postgresql() -> None:
    plans = [plan_for(seed) for seed in SEEDS]
    on_sqlite = [plan for plan in plans if plan.database == "sqlite"]
    assert len(on_sqlite) * 5 == len(plans)
    steps = [step for plan in on_sqlite for step in plan.steps]
    assert not [step for step in steps if step.fault is Fault.FAILOVER or step.target == DATABASE]


def test_a_database_that_is_set_back_has_no_other_fault() -> None:
    for seed in SEEDS:
        steps = plan_for(seed).steps
        setbacks = [step for step in steps if step.fault in {Fault.FAILOVER, Fault.RESTORE}]
        assert len(setbacks) <= 1
        if setbacks:
            assert not [step for step in steps if step.target == DATABASE]


def test_steps_are_numbered_in_the_order_of_time_and_can_be_chosen() -> None:
    plan = plan_for(17)
    assert [step.number for step in plan.steps] == list(range(1, len(plan.steps) + 1))
    assert all(1.0 <= step.start_s <= FEED_S for step in plan.steps)
    assert [step.number for step in plan.only({2, 4}).steps] == [2, 4]


def test_a_seed_is_not_another_plan_tomorrow() -> None:
    steps = [(step.fault.value, step.target, step.start_s) for step in plan_for(1).steps]
    assert steps[0] == ("kill", "ingest-1", 2.86)


def test_a_short_run_has_the_same_faults_in_less_time() -> None:
    long, short = plan_for(17), plan_for(17, feed_s=4.0)
    assert [(step.fault, step.target) for step in short.steps] == [(step.fault, step.target) for step in long.steps]
    assert short.last_end_s < long.last_end_s / 2
