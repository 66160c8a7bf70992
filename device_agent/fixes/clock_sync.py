"""Sets the terminal's clock to the trusted clock."""

from __future__ import annotations

from device_agent.actions import ActionContext, fix, step
from device_agent.families import TERMINAL
from protocol.capabilities import StepNature
from protocol.parameters import Words
from protocol.safety import Effect


def _set_clock(ctx: ActionContext) -> None:
    ctx.device.clock_set(ctx.trusted_ms)


definition = fix(
    "clock.sync",
    zh="同步时钟",
    en="Synchronise the clock",
    families=(TERMINAL,),
    expected_s=2,
    timeout_s=30,
    soak_s=10,
    explains=Words(
        "把终端时钟校准到可信时间；不影响收款，之后的流水使用新时间，无需撤销",
        "Sets the terminal's clock to trusted time. No outage; later records carry the right time",
    ),
    pre_check="clock.read",
    post_check="clock.read",
    steps=(step("set_clock", zh="校准时钟", en="Set the clock", nature=StepNature.IDEMPOTENT, run=_set_clock),),
    effect=Effect.TIDIES,
    cures=("term.CLOCK_INVALID", "term.TLS_HANDSHAKE"),
)
