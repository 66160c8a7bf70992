"""Diagnosis (06 70): the terminal calls its host and reports. It moves no money and sets nothing.

A terminal whose parameters are out of date still reaches its host: its status is asked as well, so that the diagnosis
of a terminal that needs something never passes.
"""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import finding_of
from device_agent.checks.zvt_status import status_finding
from device_agent.families import ZVT
from protocol.parameters import Words
from protocol.records import Outcome
from protocol.redaction import scrub

_MAX_SHOWN_CHARS = 480


@check(
    "zvt.diagnosis",
    zh="终端诊断（连接主机）",
    en="Terminal diagnosis (calls its host)",
    families=(ZVT,),
    expected_s=15,
    timeout_s=200,
    explains=Words(
        "终端会联系收单主机并报告结果，约需十几秒，期间不能收款",
        "The terminal calls its host and reports; it takes seconds, in which it takes no payment",
    ),
    finds=("zvt.6B", "zvt.85", "zvt.C2"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    status = status_finding(ctx.device.status_enquiry())
    answer = ctx.device.diagnosis()
    findings = [status, finding_of(answer, "host")]
    if answer.lines:
        report = scrub("\n".join(answer.lines)).text
        findings.append(Finding(Outcome.PASS, "report", evidence=report[:_MAX_SHOWN_CHARS]))
    return findings
