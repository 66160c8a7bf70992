"""Whether the modem is registered with a network and has its data context. Only asks; the radio is left alone."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import finding_of, judge_all
from device_agent.families import MODEM, TERMINAL

METRICS = ("modem.reg_stat", "modem.attach", "modem.pdp_active")


@check(
    "modem.registration",
    zh="网络注册与数据连接",
    en="Network registration and data context",
    families=(MODEM, TERMINAL),
    expected_s=1,
    timeout_s=20,
    finds=("agent.MODEM_NOT_REGISTERED", "term.NET_REG_DENIED", "term.NET_NO_PDP"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    if ctx.device.family == TERMINAL:
        return judge_all(ctx, METRICS, ctx.device.readings())
    return [
        finding_of(ctx.device.registration(), "registration", needs="modem.reg_stat"),
        finding_of(ctx.device.data_context(), "data context", needs="modem.pdp_active"),
    ]
