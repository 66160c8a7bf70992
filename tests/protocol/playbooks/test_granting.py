"""What an approver allows with a whole playbook: its changes and nothing beside them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.authorisations import Grant
from protocol.capabilities import Action
from protocol.commands import DangerClass
from protocol.parameters import check_params
from protocol.playbooks.granting import grants_of, uses_of
from protocol.playbooks.language import Playbook
from protocol.playbooks.reading import read_playbook
from protocol.playbooks.walking import Taken, Todo, follow
from tests.protocol.playbooks.test_language import GOOD, known
from tests.protocol.playbooks.test_walking import heards, playbooks

KNOWN = known()


def test_a_variable_is_allowed_with_the_value_that_it_was_started_with_and_no_other() -> None:
    playbook = read_playbook(GOOD, "example.toml")
    found = grants_of(playbook, {"apn": "cmiot"}, KNOWN)
    assert found == [Grant("clock.sync", {}), Grant("config.apply", {"name": "apn", "value": "cmiot"})]
    assert uses_of(playbook, KNOWN) == 2


def test_what_a_device_lacks_and_what_only_reads_needs_no_grant() -> None:
    playbook = read_playbook(GOOD, "example.toml")
    assert grants_of(playbook, {}, {"clock.read": KNOWN["clock.read"]}) == []
    assert uses_of(playbook, {}) == 0


def test_a_value_that_a_rule_sets_is_allowed_too() -> None:
    text = GOOD.replace('{ go = "apn" }', '{ go = "apn", set = { apn = "cmnet2" } }')
    found = grants_of(read_playbook(text, "example.toml"), {}, KNOWN)
    assert [one.params for one in found if one.action == "config.apply"] == [
        {"name": "apn", "value": "cmnet"},
        {"name": "apn", "value": "cmnet2"},
    ]


@given(playbooks, st.data())
def test_every_change_that_a_walk_comes_to_is_among_what_was_allowed(
    playbook: Playbook, answers: st.DataObject
) -> None:
    allowed = grants_of(playbook, {}, KNOWN)
    taken: list[Taken] = []
    changes = 0
    while isinstance(place := follow(playbook, {}, taken), Todo):
        action: Action | None = KNOWN.get(place.step.action)
        params = None if action is None else check_params(list(action.params), dict(place.params))
        if action is not None and isinstance(params, dict) and action.danger_class is DangerClass.CHANGES:
            assert Grant(action.name, params) in allowed
            changes += 1
        taken.append(Taken(place.step.name, None if place.step.kind is None else answers.draw(heards)))
    assert changes <= uses_of(playbook, KNOWN)
