"""A playbook that is wrong is refused before it is walked, in one sentence for each thing that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from device_agent.families import ALL
from device_agent.registry import definitions_for
from protocol.capabilities import Action
from protocol.catalogue import faults
from protocol.commands import DangerClass
from protocol.playbooks.checking import PlaybookInvalid, check_actions, check_given, highest_class
from protocol.playbooks.language import EndKind
from protocol.playbooks.reading import read_playbook, shipped

GOOD = """
name = "example"
version = 1
title = { zh = "例", en = "Example" }
symptom = { zh = "例", en = "Example" }
longest_s = 3600

[[variables]]
name = "apn"
title = { zh = "接入点", en = "Access point" }
start = "cmnet"
asked = true

[[variables]]
name = "drift"
title = { zh = "偏差", en = "Drift" }
start = 0

[[steps]]
name = "clock"
title = { zh = "看时钟", en = "Clock" }
check = "clock.read"
within_s = 60
keep = { drift = "sys.clock_drift_s" }
times = 3
spent = "look"
then = [
  { when = { verdict = ["pass"] }, go = "well" },
  { when = { above = { drift = 300 } }, go = "sync" },
  { go = "pause" },
]

[[steps]]
name = "pause"
title = { zh = "等一会", en = "Wait" }
wait_s = 60
times = 3
spent = "look"
then = [{ go = "clock" }]

[[steps]]
name = "sync"
title = { zh = "校准", en = "Set" }
fix = "clock.sync"
within_s = 600
then = [{ when = { result = ["fixed"] }, go = "fixed" }, { go = "apn" }]

[[steps]]
name = "apn"
title = { zh = "接入点", en = "Access point" }
fix = "config.apply"
params = { name = "apn", value = { variable = "apn" } }
within_s = 600
then = [{ when = { result = ["not_fixed"] }, go = "send" }, { go = "look" }]

[[ends]]
name = "fixed"
as = "fixed"
say = { zh = "好", en = "Fixed" }

[[ends]]
name = "well"
as = "nothing_wrong"
say = { zh = "好", en = "Well" }

[[ends]]
name = "send"
as = "technician"
cause = "sim_dead"
parts = ["SIM card"]
say = { zh = "派人", en = "Send somebody" }

[[ends]]
name = "look"
as = "undecided"
say = { zh = "看", en = "Look" }
"""

WRONG = [
    ("[[steps]]", "[[stages]]", "the file: expected only known keys, came 'stages'"),
    ("longest_s = 3600\n", "", "the file: expected the key longest_s, came none"),
    ("longest_s = 3600", "longest_s = 0", "longest_s: expected int >= 1, came '0'"),
    ("within_s = 60\n", "", "steps[0] clock: expected within_s, after how many seconds it is given up, came 'none'"),
    ("within_s = 600", "within_s = 7200", "steps[2] sync: expected at most longest_s (3600), came '7200'"),
    (
        'check = "clock.read"',
        'check = "clock.read"\nfix = "clock.sync"',
        "one of check, test, fix, wait_s, came '2 of them'",
    ),
    ("wait_s = 60", "wait_s = 60\nwithin_s = 5", "steps[1] pause: expected a wait without within_s, params and keep"),
    ('go = "clock" }', 'go = "clok" }', "steps[1] pause: expected the name of a step or end to go to, came 'clok'"),
    ('go = "sync" }', 'go = "look" }', "steps[2] sync: expected a way to it from the first step, came 'none'"),
    ('go = "apn" }', 'go = "look" }', "steps[3] apn: expected a way to it from the first step, came 'none'"),
    ('times = 3\nspent = "look"\nthen = [\n', "then = [\n", "steps[0] clock.spent: expected where to go"),
    (
        'within_s = 600\nthen = [{ when = { result = ["fixed"]',
        'within_s = 600\ntimes = 2\nthen = [{ when = { result = ["fixed"]',
        "steps[2] sync.times: expected no times and spent",
    ),
    (
        '{ go = "pause" },\n',
        '{ go = "pause" },\n{ when = { verdict = ["warn"] }, go = "pause" },\n',
        "steps[0] clock.then[2]: expected a 'when'",
    ),
    ('{ go = "pause" },\n', "", "steps[0] clock.then[1]: expected no 'when' in the last rule"),
    (
        'value = { variable = "apn" }',
        'value = { variable = "pan" }',
        "steps[3] apn.params.value: expected one of apn, drift, came 'pan'",
    ),
    (
        'value = { variable = "apn" }',
        'value = { variable = "drift" }',
        "a variable that no step keeps what a device said in",
    ),
    ("keep = { drift =", "keep = { drifts =", "steps[0] clock.keep: expected one of apn, drift, came 'drifts'"),
    (
        "above = { drift = 300 }",
        "above = { apn = 300 }",
        "steps[0] clock.then[1] apn: expected a value like 'cmnet', came '300.0'",
    ),
    (
        "above = { drift = 300 }",
        "above = { rift = 300 }",
        "steps[0] clock.then[1]: expected one of apn, drift, came 'rift'",
    ),
    (
        '{ go = "pause" }',
        '{ go = "pause", set = { drift = "far" } }',
        "steps[0] clock.then[2] drift: expected a value like 0, came 'far'",
    ),
    (
        'then = [{ go = "clock" }]',
        'then = [{ when = { verdict = ["pass"] }, go = "well" }, { go = "clock" }]',
        "steps[1] pause.then[0].when: expected variables only",
    ),
    ('{ go = "pause" }', '{ go = "well" }', None),
    (
        'when = { result = ["fixed"] }, go = "fixed"',
        'when = { result = ["fixed", "not_told"] }, go = "fixed"',
        "steps[2] sync.then[0].when: expected a verdict pass, or a result fixed to end as fixed",
    ),
    (
        'when = { result = ["not_fixed"] }, go = "send"',
        'when = { variables = { apn = [""] } }, go = "send"',
        "steps[3] apn.then[0].when: expected a finding to end as technician",
    ),
    (
        'times = 3\nspent = "look"\nthen = [{',
        'times = 3\nspent = "well"\nthen = [{',
        "steps[1] pause.spent: expected no end as nothing_wrong",
    ),
    (
        'cause = "sim_dead"',
        'cause = "gremlins"',
        "ends[2] send.cause: expected a cause of the fault model, came 'gremlins'",
    ),
    (
        'parts = ["SIM card"]',
        'parts = ["hammer"]',
        "ends[2] send.parts: expected a part of the fault model, came 'hammer'",
    ),
    ('parts = ["SIM card"]', "", "ends[2] send.parts: expected the parts that a technician brings"),
    ('as = "undecided"', 'as = "handover"', "ends[3] look.to: expected whom it is handed over to"),
    ('name = "send"\nas', 'name = "sync"\nas', "name sync: expected a name of one step or end, came '2 of them'"),
    (
        'verdict = ["pass"]',
        'code = ["term.NO_SUCH"]',
        "steps[0] clock.then[0].when.code: expected a code of the catalogue",
    ),
    ('verdict = ["pass"]', 'verdict = ["perhaps"]', "steps[0].then[0].when.verdict[0]: expected"),
    (
        'fix = "clock.sync"',
        'fix = "clock.sync"\nbecause = { zh = "因", en = "why" }\nspeed = 3',
        "steps[2]: expected only known keys, came 'speed'",
    ),
    (
        'fix = "clock.sync"',
        'test = "clock.sync"\nbecause = { zh = "因", en = "why" }',
        "steps[2] sync.because: expected a fix",
    ),
    ("version = 1", "version = ", "expected TOML, came"),
]


def test_a_good_one_is_read_as_it_is_written() -> None:
    playbook = read_playbook(GOOD, "example.toml")
    assert [step.name for step in playbook.steps] == ["clock", "pause", "sync", "apn"]
    assert playbook.actions == ("clock.read", "clock.sync", "config.apply")


@pytest.mark.parametrize(("was", "wrong", "sentence"), WRONG)
def test_what_is_wrong_is_said_with_file_step_expected_and_came(was: str, wrong: str, sentence: str | None) -> None:
    assert was in GOOD
    with pytest.raises(PlaybookInvalid) as raised:
        read_playbook(GOOD.replace(was, wrong, 1), "example.toml")
    assert all(line.startswith("example.toml: ") for line in str(raised.value).splitlines())
    assert sentence is None or f"{sentence}" in str(raised.value)


def test_a_loop_that_only_its_used_up_steps_make_is_refused() -> None:
    text = GOOD.replace('spent = "look"\nthen = [\n', 'spent = "pause"\nthen = [\n', 1)
    text = text.replace('spent = "look"\nthen = [{ go = "clock" }]', 'spent = "clock"\nthen = [{ go = "clock" }]', 1)
    with pytest.raises(PlaybookInvalid, match=r"step clock\.spent: expected a way out of the loop"):
        read_playbook(text, "example.toml")


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = GOOD.replace('go = "clock" }', 'go = "clok" }').replace("within_s = 60\n", "").replace("hammer", "SIM card")
    with pytest.raises(PlaybookInvalid) as raised:
        read_playbook(text, "example.toml")
    assert len(raised.value.wrong) >= 2


def test_a_text_too_large_is_not_looked_at() -> None:
    with pytest.raises(PlaybookInvalid, match="at most 65536 bytes"):
        read_playbook("#" * 70_000, "example.toml")


def known(terminal_class: str = "smart") -> dict[str, Action]:
    found = [one.declared for family in ALL for one in definitions_for(family, terminal_class)]
    return {one.name: one for one in found}


@pytest.mark.parametrize(
    ("was", "wrong", "sentence"),
    [
        ("clock.read", "clock.reed", "steps[0] clock: expected an action that a terminal declares, came 'clock.reed'"),
        ("clock.read", "clock.sync", "steps[0] clock: expected a check, came 'clock.sync, which is a fix'"),
        ('{ name = "apn", value', '{ nome = "apn", value', "steps[3] apn.params: expected parameters of config.apply"),
        ('{ name = "apn", value', '{ name = "pan", value', "steps[3] apn.params.name: expected one of"),
        ('params = { name = "apn", value = { variable = "apn" } }', "", "steps[3] apn.params.name: expected a value"),
    ],
)
def test_a_step_that_no_terminal_could_do_is_told(was: str, wrong: str, sentence: str) -> None:
    told = check_actions(read_playbook(GOOD.replace(was, wrong, 1), "example.toml"), known())
    assert any(sentence in one for one in told), told


def test_it_has_the_highest_class_of_its_steps() -> None:
    playbook = read_playbook(GOOD, "example.toml")
    assert highest_class(playbook, known()) is DangerClass.CHANGES
    assert highest_class(playbook, {"clock.read": known()["clock.read"]}) is DangerClass.READS


@pytest.mark.parametrize(
    ("given", "wrong"),
    [({"apn": "cmiot"}, []), ({"drift": 3}, ["drift"]), ({"apn": 3}, ["apn"]), ({"pan": "x"}, ["pan"])],
)
def test_only_what_is_asked_for_can_be_given(given: dict[str, Any], wrong: list[str]) -> None:
    assert [one.name for one in check_given(read_playbook(GOOD, "example.toml"), given)] == wrong


def test_those_that_ship_fit_what_terminals_declare_and_the_fault_model() -> None:
    assert len(shipped()) >= 10
    model = faults.load()
    for playbook in shipped().values():
        assert check_actions(playbook, known()) == [], playbook.name
        for end in playbook.ends:
            cause = model.causes.get(faults.CauseId(end.cause))
            if end.kind is EndKind.TECHNICIAN:
                assert cause is not None, f"{playbook.name} {end.name}: a visit is for a cause"
                assert set(end.parts) <= set(cause.fix.parts), f"{playbook.name} {end.name}"
        assert playbook.causes, playbook.name
        assert playbook.codes, playbook.name
