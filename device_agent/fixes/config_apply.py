"""Sets one value of the terminal's configuration, of those declared, and reads it back.

What was set before is put back when the terminal does not show the new value: the fix leaves the old one or the new
one, never a third.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from device_agent.actions import ActionContext, Definition, fix, step
from device_agent.errors import ActionFailed
from device_agent.families import TERMINAL
from device_agent.settable_values import STANDARD_VALUES, SettableValue
from protocol.capabilities import StepNature
from protocol.parameters import Choice, Parameter, ParamType, Words
from protocol.safety import Effect

MAX_VALUE_CHARS = 128


def definition_for(values: Sequence[SettableValue]) -> Definition:
    by_name = {value.name: value for value in values}
    return fix(
        "config.apply",
        zh="设置配置值",
        en="Apply a configuration value",
        families=(TERMINAL,),
        expected_s=2,
        timeout_s=30,
        soak_s=10,
        params=(
            Parameter(
                "name",
                Words("名称", "Name"),
                ParamType.CHOICE,
                choices=[Choice(value.name, value.title) for value in values],
            ),
            Parameter("value", Words("新值", "New value"), ParamType.TEXT, max_length=MAX_VALUE_CHARS),
        ),
        explains=Words(
            "修改一项终端设置并读回核对；撤销：用原值再执行一次",
            "Changes one setting and reads it back. To undo, apply the former value",
        ),
        pre_check="config.read",
        post_check="config.read",
        steps=(
            step(
                "apply",
                zh="写入并读回",
                en="Set and read back",
                nature=StepNature.PROBEABLE,
                run=partial(_apply, by_name),
                probe=_is_set,
            ),
        ),
        effect=Effect.CHANGES_PARAMETERS,
    )


def _apply(by_name: Mapping[str, SettableValue], ctx: ActionContext) -> None:
    name, wanted = str(ctx.params["name"]), str(ctx.params["value"])
    if name not in by_name or not by_name[name].accepts(wanted):
        pattern = by_name[name].pattern if name in by_name else "a declared name"
        raise ActionFailed("value_not_allowed", f"{name}: expected {pattern}, came {wanted[:60]!r}")
    before = ctx.device.config_get().get(name)
    ctx.device.config_set(name, wanted)
    if ctx.device.config_get().get(name) != wanted:
        _put_back(ctx, name, before)
        raise ActionFailed("not_taken", f"{name}: the terminal does not show the value it was given")


def _is_set(ctx: ActionContext) -> bool:
    return bool(ctx.device.config_get().get(str(ctx.params["name"])) == ctx.params["value"])


def _put_back(ctx: ActionContext, name: str, before: str | None) -> None:
    if before is not None:
        # The failure that is reported is the one that led here.
        with suppress(ActionFailed):
            ctx.device.config_set(name, before)


definition = definition_for(STANDARD_VALUES)
