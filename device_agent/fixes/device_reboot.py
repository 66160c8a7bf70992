"""Reboots the terminal, once. Proved by a new boot id; the application must be alive afterwards.

The step is never run again: after a stop of the agent in the middle of it, only another boot id than before makes it
done.
"""

from __future__ import annotations

from contextlib import suppress

from device_agent.actions import ActionContext, fix, step
from device_agent.errors import DeviceNotAnswering
from device_agent.families import TERMINAL
from device_agent.fixes.waiting import wait_until
from protocol.capabilities import StepNature
from protocol.parameters import Words
from protocol.safety import Effect

BACK_WITHIN_S = 180.0


def _reboot(ctx: ActionContext) -> None:
    before = ctx.device.boot()
    # Going down it may cut off its own answer; only the boot id tells.
    with suppress(DeviceNotAnswering):
        ctx.device.reboot()
    wait_until(
        ctx, lambda: ctx.device.boot() != before, timeout_s=BACK_WITHIN_S, awaited="terminal back with a new boot"
    )


def _was_rebooted(ctx: ActionContext) -> bool | None:
    """The boot in which the step was begun proves nothing: the terminal may still be about to go down."""
    return True if ctx.boot_before and ctx.device.boot() != ctx.boot_before else None


definition = fix(
    "device.reboot",
    zh="重启终端",
    en="Reboot the terminal",
    families=(TERMINAL,),
    expected_s=60,
    timeout_s=240,
    explains=Words(
        "整机重启，约一两分钟不能收款；存储的交易和设置不变，无法撤销",
        "Restarts the whole terminal: a minute or two without payments. Stored payments and settings stay",
    ),
    pre_check="device.full_check",
    post_check="app.alive",
    steps=(step("reboot", zh="重启", en="Reboot", nature=StepNature.ONCE, run=_reboot, probe=_was_rebooted),),
    effect=Effect.REBOOTS,
    outage_s=120,
    cures=("agent.APP_DEAD", "agent.MEMORY_LOW", "agent.MODEM_NOT_REGISTERED"),
)
