"""From what a ledger, or an agent, tells of an execution to what a playbook's rules ask about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protocol.commands import ActionKind
from protocol.executions import ExecutionState, Result, result_of
from protocol.parameters import ParamValue
from protocol.playbooks.walking import Heard
from protocol.records import Outcome, Phase


@dataclass(frozen=True, slots=True)
class Told:
    """One item of a verdict."""

    phase: Phase
    item: str
    outcome: Outcome
    codes: tuple[str, ...] = ()
    value: ParamValue | None = None


def heard_of(
    kind: ActionKind, state: ExecutionState, code: str, outcome: Outcome | None, told: Iterable[Told]
) -> Heard | None:
    """None while it goes on. Of a fix what its check found afterwards counts, of the others their own findings."""
    result = result_of(kind, state, code)
    if result is None:
        return None
    wanted = Phase.POST_CHECK if kind is ActionKind.FIX else Phase.RESULT
    found = [one for one in told if one.phase is wanted]
    return Heard(
        result=result,
        verdict=outcome if result is Result.RAN else None,
        codes=frozenset(code for one in found for code in one.codes),
        items={one.item: one.outcome for one in found},
        values={one.item: one.value for one in found if one.value is not None},
    )
