"""Signs the terminal in anew: the way out of working keys that are too old, and never held by the batch.

Each sign-in brings new working keys and takes the place of the one before: one that was cut off is simply done again.
"""

from __future__ import annotations

from device_agent.actions import ActionContext, fix, step
from device_agent.errors import ActionFailed
from device_agent.families import TERMINAL
from protocol.capabilities import StepNature
from protocol.parameters import Words
from protocol.safety import Effect


def _sign_in(ctx: ActionContext) -> None:
    result = ctx.device.sign_in()
    if not result.approved:
        why = f"the acquirer refused with {result.response_code}" if result.response_code else "no answer came"
        raise ActionFailed("sign_in_not_approved", f"expected the sign-in to be approved, {why}")


definition = fix(
    "sign_in.renew",
    zh="重新签到",
    en="Sign in again",
    families=(TERMINAL,),
    expected_s=10,
    timeout_s=60,
    explains=Words(
        "终端向收单机构重新签到并更新工作密钥；批次与已有交易不变，无需撤销",
        "The terminal signs in at its acquirer and gets new working keys; batch and payments stay as they are",
    ),
    pre_check="sign_in.status",
    post_check="sign_in.status",
    steps=(step("sign_in", zh="签到", en="Sign in", nature=StepNature.IDEMPOTENT, run=_sign_in),),
    effect=Effect.WAY_OUT,
    cures=("term.SIGN_IN_NEEDED", "unionpay39.77", "unionpay39.A0"),
)
