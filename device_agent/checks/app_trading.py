"""Whether the terminal can take payments as far as its own books go: sign-in, batch, settlement, success rate."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge_all
from device_agent.families import TERMINAL

METRICS = (
    "biz.sign_in_ok",
    "biz.sign_in_age_h",
    "biz.txn_success_pct",
    "biz.txn_latency_ms",
    "biz.last_txn_age_h",
    "biz.batch_count",
    "biz.settle_age_h",
)


@check(
    "app.trading",
    zh="签到、批次与交易",
    en="Sign-in, batch and payments",
    families=(TERMINAL,),
    expected_s=0.2,
    timeout_s=10,
    finds=("term.SIGN_IN_NEEDED", "term.BATCH_FULL"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return judge_all(ctx, METRICS, ctx.device.readings())
