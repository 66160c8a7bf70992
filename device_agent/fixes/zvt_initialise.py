"""Initialisation (06 93): the payment terminal reports to its host and fetches what it needs to trade again."""

from __future__ import annotations

from device_agent.actions import ActionContext, fix, step
from device_agent.drivers.zvt.codes import MENDED_BY_INITIALISING
from device_agent.drivers.zvt.messages import CONFIG_TERMINAL_PRINTS
from device_agent.families import ZVT
from device_agent.fixes.answers import require_done
from protocol.capabilities import StepNature
from protocol.parameters import Words
from protocol.safety import Effect

_NOT_REGISTERED = "zvt.6B"


def _initialise(ctx: ActionContext) -> None:
    answer = ctx.device.initialise()
    if answer.code == _NOT_REGISTERED:
        # Only a terminal that has lost its registration is given one; a till's own registration is never replaced.
        require_done(ctx.device.register(CONFIG_TERMINAL_PRINTS))
        answer = ctx.device.initialise()
    require_done(answer)


definition = fix(
    "zvt.initialise",
    zh="终端初始化",
    en="Initialise the payment terminal",
    families=(ZVT,),
    expected_s=40,
    timeout_s=240,
    explains=Words(
        "终端重新联系主机完成初始化，未注册时先注册，期间不能收款；已有交易不变，无需撤销",
        "The terminal registers if it has to, calls its host and initialises; no payments meanwhile, past ones stay",
    ),
    pre_check="zvt.initialised",
    post_check="zvt.initialised",
    steps=(step("initialise", zh="初始化", en="Initialise", nature=StepNature.IDEMPOTENT, run=_initialise),),
    effect=Effect.WAY_OUT,
    outage_s=40,
    cures=MENDED_BY_INITIALISING,
)
