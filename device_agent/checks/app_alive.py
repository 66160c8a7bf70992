"""Whether the payment application runs, and since when. What it does inside is not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from device_agent.actions import ActionContext, Finding, check
from device_agent.families import TERMINAL
from protocol.identifiers import CodeId
from protocol.records import Outcome

APP_DEAD: Final = CodeId("agent.APP_DEAD")


@check(
    "app.alive",
    zh="支付应用是否运行",
    en="Payment application alive",
    families=(TERMINAL,),
    expected_s=0.1,
    timeout_s=10,
    unit="s",
    finds=(APP_DEAD,),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    app = ctx.device.app_status()
    if not app.alive:
        return [Finding(Outcome.FAIL, "app", evidence=f"application {app.version} is not running", codes=(APP_DEAD,))]
    # By the terminal's own clock on both sides: a wrong clock does not make an application older.
    running_s = max((ctx.device.clock_get().wall_ms - app.since_ms) // 1000, 0)
    return [Finding(Outcome.PASS, "app", running_s, "s", evidence=f"application {app.version} is running")]
