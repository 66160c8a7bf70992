"""Makes the modem leave its network and register again. Does nothing for a dead or suspended SIM, and then says so."""

from __future__ import annotations

from device_agent.actions import ActionContext, fix, step
from device_agent.families import MODEM, TERMINAL
from device_agent.fixes.answers import require_done
from device_agent.fixes.waiting import wait_until
from protocol.capabilities import StepNature
from protocol.parameters import Words
from protocol.safety import Effect

REGISTERED_WITHIN_S = 90.0


def _reregister(ctx: ActionContext) -> None:
    if ctx.device.family == MODEM:
        require_done(ctx.device.reregister())
    else:
        ctx.device.modem_reregister()


def _is_online(ctx: ActionContext) -> bool:
    return bool(ctx.device.readings().get("modem.pdp_active"))


def _await_registration(ctx: ActionContext) -> None:
    # The modem's own driver has waited already.
    if ctx.device.family == TERMINAL:
        wait_until(ctx, lambda: _is_online(ctx), timeout_s=REGISTERED_WITHIN_S, awaited="registered with data context")


definition = fix(
    "modem.reregister",
    zh="重新注册网络",
    en="Re-register the modem",
    families=(MODEM, TERMINAL),
    expected_s=30,
    timeout_s=240,
    explains=Words(
        "通讯模块断开后重新入网，移动网络约中断半分钟；设置不变，无需撤销",
        "The modem leaves the network and joins it again: half a minute without mobile data. No setting changes",
    ),
    pre_check="modem.registration",
    post_check="modem.registration",
    steps=(
        step("reregister", zh="重新注册", en="Register again", nature=StepNature.IDEMPOTENT, run=_reregister),
        step(
            "wait_registered",
            zh="等待入网",
            en="Wait for the network",
            nature=StepNature.IDEMPOTENT,
            run=_await_registration,
        ),
    ),
    effect=Effect.TIDIES,
    outage_s=30,
    cures=("agent.MODEM_NOT_REGISTERED", "term.NET_NO_PDP"),
)
