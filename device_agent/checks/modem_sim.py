"""Whether the SIM is there and ready."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import finding_of, judge_all
from device_agent.families import MODEM, TERMINAL

METRICS = ("modem.sim_state",)


@check(
    "modem.sim",
    zh="SIM卡",
    en="SIM card",
    families=(MODEM, TERMINAL),
    expected_s=0.5,
    timeout_s=15,
    finds=("cme.10", "cme.11", "cme.12", "cme.13"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    if ctx.device.family == TERMINAL:
        return judge_all(ctx, METRICS, ctx.device.readings())
    return [finding_of(ctx.device.sim(), "sim", needs="modem.sim_state")]
