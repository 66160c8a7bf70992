"""The last lines of the payment application's log, scrubbed of card data, one finding a line."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.families import TERMINAL
from protocol.parameters import Parameter, ParamType, Words
from protocol.records import Outcome
from protocol.redaction import scrub

MAX_LINES = 50
_MAX_LINE_CHARS = 400


@check(
    "app.log_tail",
    zh="应用日志末尾",
    en="Tail of the application's log",
    families=(TERMINAL,),
    expected_s=0.5,
    timeout_s=15,
    params=(
        Parameter(
            "lines", Words("行数", "Lines"), ParamType.INTEGER, required=False, default=20, minimum=1, maximum=MAX_LINES
        ),
    ),
    explains=Words("卡号等敏感数据在设备上已被遮盖", "Card data is masked on the device before anything is sent"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    wanted = int(ctx.params.get("lines", 20))
    # Scrubbed as one text: a number may be cut by the end of a line.
    text = scrub("\n".join(ctx.device.log_tail(wanted).lines)).text
    lines = text.splitlines()[-wanted:]
    if not lines:
        return [Finding(Outcome.PASS, evidence="the log is empty")]
    return [
        Finding(Outcome.PASS, f"line {number}", evidence=line[:_MAX_LINE_CHARS])
        for number, line in enumerate(lines, start=1)
    ]
