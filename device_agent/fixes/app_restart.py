"""Restarts the payment application. What is on disk (journal, queue, settings) stays; its screen starts anew."""

from __future__ import annotations

from device_agent.actions import ActionContext, fix, step
from device_agent.families import TERMINAL
from device_agent.fixes.waiting import wait_until
from protocol.capabilities import StepNature
from protocol.parameters import Words
from protocol.safety import Effect

# Slow terminals load their application and its parameters for half a minute.
STARTS_WITHIN_S = 60.0


def _restart(ctx: ActionContext) -> None:
    ctx.device.app_restart()


def _await_start(ctx: ActionContext) -> None:
    wait_until(ctx, lambda: ctx.device.app_status().alive, timeout_s=STARTS_WITHIN_S, awaited="application running")


definition = fix(
    "app.restart",
    zh="重启支付应用",
    en="Restart the payment application",
    families=(TERMINAL,),
    expected_s=15,
    timeout_s=90,
    explains=Words(
        "关闭并重新打开支付应用，约半分钟不能收款；交易流水和待上送交易不受影响，无需撤销",
        "Closes the application and opens it again: half a minute without payments. Nothing stored changes",
    ),
    pre_check="app.alive",
    post_check="app.alive",
    steps=(
        step("restart", zh="重启应用", en="Restart", nature=StepNature.IDEMPOTENT, run=_restart),
        step("wait_running", zh="等待启动", en="Wait until it runs", nature=StepNature.IDEMPOTENT, run=_await_start),
    ),
    effect=Effect.RESTARTS_APP,
    outage_s=30,
    cures=("agent.APP_DEAD", "agent.MEMORY_LOW", "term.APP_CRASH"),
)
