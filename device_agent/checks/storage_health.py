"""Wear of the storage chip and its read and write errors: what no purge of logs mends."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge_all
from device_agent.families import TERMINAL

METRICS = ("sys.storage_io_err_24h", "sys.emmc_life_pct")


@check(
    "storage.health",
    zh="存储芯片健康",
    en="Storage health",
    families=(TERMINAL,),
    expected_s=0.2,
    timeout_s=10,
    finds=("term.STORAGE_IO",),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return judge_all(ctx, METRICS, ctx.device.readings())
