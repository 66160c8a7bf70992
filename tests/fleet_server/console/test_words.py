from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fleet_server
from fleet_server.auth.roles import Role
from fleet_server.console import words
from fleet_server.console.assets import load_assets
from fleet_server.console.audit_words import AUDIT_ACTIONS
from fleet_server.console.language import Language, translations
from fleet_server.devices.condition import Condition
from fleet_server.devices.presence import Presence, Reason
from fleet_server.signer.auditing import DEEDS
from protocol.catalogue.vocabulary import Owner
from protocol.commands import ActionKind, Refusal
from protocol.executions import ExecutionState
from protocol.parameters import ParamType
from protocol.records import Outcome, Phase, Severity
from protocol.safety import Condition as SafetyCondition


def test_every_name_that_the_programs_use_has_words() -> None:
    assert set(words.STATES) == set(ExecutionState)
    assert set(words.OUTCOMES) == set(Outcome)
    assert set(words.PHASES) == set(Phase)
    assert set(words.SEVERITIES) == set(Severity)
    assert set(words.OWNERS) == set(Owner)
    assert set(words.KINDS) == set(ActionKind)
    assert set(words.PARAM_TYPES) == set(ParamType)
    assert set(words.REFUSALS) == set(Refusal)
    assert set(words.SAFETY) == set(SafetyCondition)
    assert set(words.ROLES) == {role.value for role in Role}
    assert set(words.CONDITIONS) == set(words.CENSUS_WORDS) == {condition.value for condition in Condition}
    assert set(words.PRESENCES) >= {presence.value for presence in Presence}
    assert set(words.PRESENCE_REASONS) >= {reason.value for reason in Reason}
    assert set(words.REASONS) >= {refusal.value for refusal in Refusal}


# At which place of a call the word stands.
_PLACES = {"record": 2, "note_reading": 2, "_note": 0, "note_refusal": 0, "_refuse": 0, "_written": 2}


def written_deeds() -> Iterator[str]:
    """The words that the programs write into the audit, from their calls."""
    for path in Path(fleet_server.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call):
                name = getattr(call.func, "id", getattr(call.func, "attr", ""))
                place = _PLACES.get(name, len(call.args))
                for word in call.args[place : place + 1]:
                    if isinstance(word, ast.Constant) and isinstance(word.value, str):
                        yield word.value


def test_every_deed_that_is_written_down_has_words_and_no_other_has() -> None:
    assert {*written_deeds(), *DEEDS.values()} == set(AUDIT_ACTIONS)


def test_every_shape_is_in_the_sprite() -> None:
    sprite = load_assets()["icons.svg"].content.decode()
    shapes = [*words.CONDITIONS.values(), *words.PRESENCES.values(), *words.STATES.values(), *words.OUTCOMES.values()]
    shapes += [*words.SEVERITIES.values(), words.PROVED, words.NOT_FIXED, words.NOT_NEEDED, words.UNKNOWN_SHAPE]
    icons = {shape.icon for shape in shapes} | {icon for icon, _ in words.OWNERS.values()}
    icons |= {icon for icon, _, _ in words.KINDS.values()}
    assert {icon for icon in icons if f'id="{icon}"' not in sprite} == set()


@pytest.mark.parametrize("language", list(Language))
def test_no_word_for_a_state_is_its_internal_name(language: Language) -> None:
    texts = translations(language)
    for kind in ActionKind:
        for state in ExecutionState:
            shown = texts.gettext(words.state_shape(state, kind).words)
            assert shown
            assert state.value not in shown


def test_only_a_fix_that_succeeded_is_called_proved() -> None:
    proved = [
        (state, kind)
        for state in ExecutionState
        for kind in ActionKind
        if words.state_shape(state, kind) is words.PROVED
    ]
    assert proved == [(ExecutionState.SUCCEEDED, ActionKind.FIX)]


def test_a_state_of_a_later_version_is_shown_as_unclear() -> None:
    assert words.known_state("TELEPORTED") is ExecutionState.UNKNOWN
