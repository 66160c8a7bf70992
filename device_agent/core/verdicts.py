"""Parts of an execution for the device's worker, with the parameters each gets; findings as bounded verdict records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from device_agent.actions import Definition
from device_agent.core.effects import Job, JobDone, JobKind
from device_agent.core.journal import Row
from protocol.capabilities import Action
from protocol.identifiers import ExecutionId
from protocol.parameters import ParamValue
from protocol.records import MAX_CODES, Phase, Sample, Verdict

# A full check gives one finding an item; more than this is a runaway check.
MAX_FINDINGS: Final = 64
_MAX_VALUE_CHARS: Final = 64


def verdicts(execution: ExecutionId, action: Action, phase: Phase, done: JobDone) -> list[Verdict]:
    return [
        Verdict(
            action=action.name,
            outcome=finding.outcome,
            item=finding.item[:160],
            execution=execution,
            phase=phase,
            value=_bounded(finding.value),
            unit=(finding.unit or action.unit)[:160],
            limits=finding.limits,
            evidence=finding.evidence,
            codes=list(finding.codes[:MAX_CODES]),
            duration_ms=done.duration_ms,
        )
        for finding in done.findings[:MAX_FINDINGS]
    ]


def job_of(row: Row, kind: JobKind, definition: Definition, *, is_own: bool, trusted_ms: int) -> Job:
    """``is_own``: the execution's own action, not a check that its fix asks for."""
    return Job(
        execution=row.execution,
        serial=0,
        device=row.device,
        kind=kind,
        definition=definition,
        params=params_for(definition, row.params, is_own=is_own),
        step_index=row.step_index,
        boot_before=row.boot,
        mark=row.mark,
        trusted_ms=trusted_ms,
    )


def params_for(definition: Definition, given: Mapping[str, ParamValue], *, is_own: bool) -> dict[str, ParamValue]:
    """The action's own parameters; a fix's check gets those it declares itself, and its defaults."""
    if is_own:
        return dict(given)
    declared = definition.declared.params
    defaults = {one.name: one.default for one in declared if one.default is not None}
    return defaults | {one.name: given[one.name] for one in declared if one.name in given}


def _bounded(value: Sample) -> Sample:
    return value[:_MAX_VALUE_CHARS] if isinstance(value, str) else value
