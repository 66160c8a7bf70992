"""Battery and supply as the terminal measures them."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge_all
from device_agent.families import TERMINAL

METRICS = (
    "batt.level_pct",
    "batt.health_pct",
    "batt.temp_c",
    "batt.volt_mv",
    "batt.drain_pct_h",
    "power.plugged",
    "power.charging",
    "power.input_mv",
    "power.brownout_24h",
)


@check(
    "power.read",
    zh="电池与供电",
    en="Battery and power supply",
    families=(TERMINAL,),
    expected_s=0.2,
    timeout_s=10,
    finds=("term.BATT_HOT", "term.BROWNOUT"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return judge_all(ctx, METRICS, ctx.device.readings())
