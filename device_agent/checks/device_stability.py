"""Whether the terminal keeps running: how often it booted and its application crashed, and how hot it is."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge_all
from device_agent.families import TERMINAL

METRICS = ("sys.boot_count_24h", "sys.temp_c", "sys.app_crash_24h")


@check(
    "device.stability",
    zh="运行稳定性",
    en="Restarts and crashes",
    families=(TERMINAL,),
    expected_s=0.2,
    timeout_s=10,
    finds=("term.OVERHEAT", "term.APP_CRASH"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return judge_all(ctx, METRICS, ctx.device.readings())
