"""Signs the terminal in at its acquirer: fetches new working keys. The way out of an expired sign-in."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, visible_test
from device_agent.families import TERMINAL
from protocol.catalogue import codes
from protocol.identifiers import CodeId
from protocol.parameters import Words
from protocol.records import Outcome
from protocol.safety import Effect


@visible_test(
    "app.sign_in",
    may_repeat=True,
    zh="签到",
    en="Sign in",
    families=(TERMINAL,),
    expected_s=10,
    timeout_s=60,
    effect=Effect.WAY_OUT,
    explains=Words(
        "终端向收单机构签到并更新工作密钥，不影响已有交易",
        "The terminal signs in at its acquirer and gets new working keys; payments made stay as they are",
    ),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    result = ctx.device.sign_in()
    if result.approved:
        return [Finding(Outcome.PASS, "sign-in", result.response_code, evidence="the acquirer approved")]
    if not result.response_code:
        code = CodeId("term.HOST_TIMEOUT")
        return [Finding(Outcome.FAIL, "sign-in", evidence="the acquirer did not answer", codes=(code,))]
    meaning = codes.get(f"unionpay39.{result.response_code}")
    named = () if meaning is None else (CodeId(meaning.id),)
    evidence = f"the acquirer refused with {result.response_code}"
    return [Finding(Outcome.FAIL, "sign-in", result.response_code, evidence=evidence, codes=named)]
