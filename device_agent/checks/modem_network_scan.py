"""Which networks the modem hears. The radio leaves its channel meanwhile, so data may stop: a test."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, visible_test
from device_agent.checks.judging import finding_of
from device_agent.families import MODEM, TERMINAL
from protocol.parameters import Words
from protocol.records import Outcome

_MAX_SHOWN_CHARS = 480


@visible_test(
    "modem.network_scan",
    may_repeat=True,
    zh="搜索网络",
    en="Network scan",
    families=(MODEM, TERMINAL),
    expected_s=60,
    timeout_s=200,
    explains=Words(
        "搜索期间数据连接会中断，最长三分钟", "Data stops while the modem listens, for three minutes at most"
    ),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    if ctx.device.family == MODEM:
        answer = ctx.device.scan_networks()
        if not answer.is_done:
            return [finding_of(answer, "networks")]
        names = list(answer.lines)
    else:
        names = [f"{each.plmn} {each.name}" for each in ctx.device.network_scan().operators]
    outcome = Outcome.PASS if names else Outcome.FAIL
    evidence = "; ".join(names)[:_MAX_SHOWN_CHARS] if names else "no network heard"
    return [Finding(outcome, "networks", len(names), "count", evidence=evidence)]
