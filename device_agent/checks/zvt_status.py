"""Status enquiry (05 01): the payment terminal's own word on its state, and what its last call to the host found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import finding_of, outcome_of_codes
from device_agent.drivers.results import Answer, FaultSign
from device_agent.families import ZVT
from protocol.identifiers import CodeId


@check("zvt.status", zh="终端状态查询", en="Terminal status enquiry", families=(ZVT,), expected_s=1, timeout_s=30)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return [status_finding(ctx.device.status_enquiry()), *map(_still_holds, ctx.device.told_by_host)]


def status_finding(answer: Answer) -> Finding:
    return replace(finding_of(answer, "status"), value=answer.values.get("status"))


def _still_holds(sign: FaultSign) -> Finding:
    return Finding(outcome_of_codes(sign.code), "host", evidence=sign.evidence, codes=(CodeId(sign.code),))
