"""How full the batch is and how long ago it was settled. A full batch takes no more payments."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge_all
from device_agent.families import TERMINAL

METRICS = ("biz.batch_count", "biz.settle_age_h")


@check(
    "batch.status",
    zh="批次与结算",
    en="Batch and settlement",
    families=(TERMINAL,),
    expected_s=0.2,
    timeout_s=10,
    finds=("term.BATCH_FULL",),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return judge_all(ctx, METRICS, ctx.device.readings())
