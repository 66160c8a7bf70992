"""Status enquiry (05 01): the payment terminal's own word on its state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import finding_of
from device_agent.families import ZVT


@check("zvt.status", zh="终端状态查询", en="Terminal status enquiry", families=(ZVT,), expected_s=1, timeout_s=30)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    answer = ctx.device.status_enquiry()
    return [replace(finding_of(answer, "status"), value=answer.values.get("status"))]
