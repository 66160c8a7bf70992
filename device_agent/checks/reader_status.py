"""The card readers: whether the module answers, and how often chip, contactless and stripe fail. Reads no card."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge_all
from device_agent.families import TERMINAL

METRICS = ("reader.alive", "icc.read_fail_pct", "nfc.read_fail_pct", "nfc.field_ok", "msr.read_fail_pct")


@check(
    "reader.status",
    zh="读卡器状态",
    en="Card readers",
    families=(TERMINAL,),
    expected_s=0.2,
    timeout_s=10,
    finds=("term.RDR_DEAD", "term.NFC_FIELD"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return judge_all(ctx, METRICS, ctx.device.readings())
