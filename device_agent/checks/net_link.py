"""The nearest part of the way: the terminal's address, losses, reconnects, repeats in the air where it has Wi-Fi."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge_all
from device_agent.families import TERMINAL

METRICS = ("net.ip_src", "net.loss_pct", "net.reconnect_1h", "wifi.retry_pct")


@check(
    "net.link",
    zh="本地网络质量",
    en="Local network",
    families=(TERMINAL,),
    expected_s=0.2,
    timeout_s=10,
    finds=("term.NET_DHCP",),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return judge_all(ctx, METRICS, ctx.device.readings())
