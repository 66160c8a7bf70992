"""Whether the terminal is signed in at its acquirer, and since when. Without working keys it takes no payments."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge_all
from device_agent.families import TERMINAL

METRICS = ("biz.sign_in_ok", "biz.sign_in_age_h")


@check(
    "sign_in.status",
    zh="签到状态",
    en="Sign-in at the acquirer",
    families=(TERMINAL,),
    expected_s=0.2,
    timeout_s=10,
    finds=("term.SIGN_IN_NEEDED",),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return judge_all(ctx, METRICS, ctx.device.readings())
