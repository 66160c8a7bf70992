"""Strength and quality of the radio signal."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import finding_of, judge_all
from device_agent.families import MODEM, TERMINAL

METRICS = ("modem.rsrp_dbm", "modem.rsrq_db", "modem.sinr_db", "modem.csq")


@check(
    "modem.signal",
    zh="信号强度",
    en="Signal",
    families=(MODEM, TERMINAL),
    expected_s=0.5,
    timeout_s=15,
    finds=("term.NET_WEAK",),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    if ctx.device.family == TERMINAL:
        return judge_all(ctx, METRICS, ctx.device.readings())
    answer = ctx.device.signal()
    measured = [] if not answer.is_done else judge_all(ctx, METRICS, dict(answer.values))
    return [finding_of(answer, "signal"), *measured]
