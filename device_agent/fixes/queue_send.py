"""Sends what waits for the acquirer.

It never deletes: reversals, offline payments and settlement records are somebody's money, and leave the queue only when
the acquirer has confirmed them.
"""

from __future__ import annotations

from device_agent.actions import ActionContext, fix, step
from device_agent.families import TERMINAL
from device_agent.fixes.waiting import wait_until
from protocol.capabilities import StepNature
from protocol.parameters import Words
from protocol.safety import Effect

SENT_WITHIN_S = 120.0


def _send(ctx: ActionContext) -> None:
    ctx.device.queue_send()


def _is_empty(ctx: ActionContext) -> bool:
    return bool(ctx.device.queue_status().pending == 0)


def _await_empty(ctx: ActionContext) -> None:
    wait_until(ctx, lambda: _is_empty(ctx), timeout_s=SENT_WITHIN_S, awaited="queue sent")


definition = fix(
    "queue.send",
    zh="上送积压交易",
    en="Send the upload queue",
    families=(TERMINAL,),
    expected_s=20,
    timeout_s=180,
    explains=Words(
        "重新上送冲正、脱机交易和结算记录；只发送，绝不删除，收单机构按流水号去重",
        "Sends reversals, offline payments and settlements again. Never deletes; the acquirer drops doubles by trace",
    ),
    pre_check="queue.status",
    post_check="queue.status",
    steps=(
        step("send", zh="上送", en="Send", nature=StepNature.PROBEABLE, run=_send, probe=_is_empty),
        step("wait_sent", zh="等待完成", en="Wait until sent", nature=StepNature.IDEMPOTENT, run=_await_empty),
    ),
    effect=Effect.WAY_OUT,
    cures=("agent.UPLOAD_STUCK", "term.REVERSAL_PENDING"),
)
