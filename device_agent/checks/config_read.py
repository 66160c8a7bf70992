"""What the terminal is set to. With `name` and `value`: whether that is so; else every value that may be set.

Values that no fix of ours may set are not shown: a configuration may hold secrets.
"""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Definition, Finding, check
from device_agent.families import TERMINAL
from device_agent.settable_values import STANDARD_VALUES, SettableValue
from protocol.parameters import Parameter, ParamType, Words
from protocol.records import Outcome

_MAX_SHOWN_CHARS = 64


def definition_for(values: Sequence[SettableValue]) -> Definition:
    shown = sorted(value.name for value in values)

    @check(
        "config.read",
        zh="读取配置",
        en="Read configuration",
        families=(TERMINAL,),
        expected_s=0.2,
        timeout_s=10,
        params=(
            Parameter("name", Words("名称", "Name"), ParamType.TEXT, required=False, pattern=r"[a-z][a-z0-9_]{0,31}"),
            Parameter("value", Words("应有的值", "Wanted value"), ParamType.TEXT, required=False, max_length=128),
        ),
    )
    def read(ctx: ActionContext) -> Sequence[Finding]:
        present = ctx.device.config_get()
        name, wanted = ctx.params.get("name"), ctx.params.get("value")
        if name is not None:
            return [_one(str(name), present.get(str(name)) if name in shown else None, wanted)]
        return [Finding(Outcome.PASS, each, present[each][:_MAX_SHOWN_CHARS]) for each in shown if each in present]

    return read


def _one(name: str, present: str | None, wanted: object) -> Finding:
    if present is None:
        return Finding(Outcome.UNSUPPORTED, name, evidence="this terminal has no such value")
    if wanted is None or present == wanted:
        return Finding(Outcome.PASS, name, present[:_MAX_SHOWN_CHARS])
    evidence = f"expected {str(wanted)[:80]!r}, is {present[:80]!r}"
    return Finding(Outcome.FAIL, name, present[:_MAX_SHOWN_CHARS], evidence=evidence)


definition = definition_for(STANDARD_VALUES)
