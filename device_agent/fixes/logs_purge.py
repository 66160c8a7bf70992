"""Rotates and purges logs. The transaction journal is no log: nothing here names it, and the terminal's own purge is
asked for logs only.
"""

from __future__ import annotations

from device_agent.actions import ActionContext, fix, step
from device_agent.families import TERMINAL
from protocol.capabilities import StepNature
from protocol.parameters import Words
from protocol.safety import Effect


def _purge(ctx: ActionContext) -> None:
    ctx.device.logs_purge()


definition = fix(
    "logs.purge",
    zh="轮转并清理日志",
    en="Rotate and purge logs",
    families=(TERMINAL,),
    expected_s=5,
    timeout_s=60,
    explains=Words(
        "删除旧日志以腾出空间，不可恢复；交易流水绝不会被删除，不影响收款",
        "Deletes old logs to make room; they are gone for good. The transaction journal is never touched. No outage",
    ),
    pre_check="storage.read",
    post_check="storage.read",
    steps=(step("purge", zh="轮转并清理", en="Rotate and purge", nature=StepNature.IDEMPOTENT, run=_purge),),
    effect=Effect.TIDIES,
    cures=("term.STORAGE_FULL",),
)
