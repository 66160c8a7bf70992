"""Makes the payment terminal print its own configuration (06 1A)."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, visible_test
from device_agent.checks.judging import finding_of
from device_agent.families import ZVT
from protocol.parameters import Words


@visible_test(
    "zvt.print_configuration",
    zh="打印终端配置",
    en="Print terminal configuration",
    families=(ZVT,),
    expected_s=15,
    timeout_s=120,
    explains=Words("终端打印其系统配置，消耗纸张", "The terminal prints its system configuration and uses paper"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return [finding_of(ctx.device.print_system_configuration(), "print")]
