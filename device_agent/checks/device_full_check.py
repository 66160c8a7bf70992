"""Every check of the device's family, one finding an item. A part that cannot be told does not end the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from device_agent.actions import ActionContext, Definition, Finding, check
from device_agent.errors import AgentError
from device_agent.families import ALL
from protocol.commands import ActionKind
from protocol.parameters import Words
from protocol.records import Outcome

FULL_CHECK = "device.full_check"
# Not about health, or not for nothing: what calls the acquirer takes time and may print.
_LEFT_OUT = frozenset({FULL_CHECK, "agent.echo", "app.log_tail", "config.read", "zvt.diagnosis", "zvt.initialised"})


@check(
    FULL_CHECK,
    zh="全面检查",
    en="Full check",
    families=ALL,
    expected_s=5,
    timeout_s=60,
    explains=Words("依次运行此设备的全部检查，不改变设备", "Runs every check of this device; nothing is changed"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    # The registry names this check among the others.
    from device_agent.registry import definitions_for

    parts = [
        each
        for each in definitions_for(ctx.device.family, ctx.terminal_class)
        if each.declared.kind is ActionKind.CHECK and each.declared.name not in _LEFT_OUT
    ]
    findings: list[Finding] = []
    for index, part in enumerate(parts):
        if ctx.is_cancelled():
            break
        ctx.progress(100 * index // len(parts), part.declared.title.en)
        findings += _items_of(part, ctx)
    return findings


def _items_of(part: Definition, ctx: ActionContext) -> list[Finding]:
    name = part.declared.name
    if part.run is None:
        return []
    try:
        found = part.run(ctx)
    except AgentError as error:
        return [Finding(Outcome.ERROR, name, evidence=str(error)[:200])]
    return [replace(each, item=f"{name} {each.item}".strip(), unit=each.unit or part.declared.unit) for each in found]
