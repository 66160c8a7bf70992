"""What waits to be sent to the acquirer, and for how long. Every item of it is somebody's money."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from device_agent.actions import ActionContext, Finding, check
from device_agent.drivers.terminal.signs import UPLOAD_STUCK_S
from device_agent.families import TERMINAL
from protocol.identifiers import CodeId
from protocol.records import Limits, Outcome

UPLOAD_STUCK: Final = CodeId("agent.UPLOAD_STUCK")


@check(
    "queue.status",
    zh="待上送交易",
    en="Upload queue",
    families=(TERMINAL,),
    expected_s=0.1,
    timeout_s=10,
    finds=(UPLOAD_STUCK,),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    queue = ctx.device.queue_status()
    oldest_s = round(queue.oldest_age_s)
    words = "being sent" if queue.sending else "not being sent"
    is_stuck = queue.pending > 0 and oldest_s > UPLOAD_STUCK_S
    return [
        Finding(
            Outcome.FAIL if is_stuck else Outcome.PASS,
            "oldest waiting",
            oldest_s,
            "s",
            Limits(high=UPLOAD_STUCK_S),
            f"{queue.pending} waiting, {words}" if queue.pending else "nothing waits",
            (UPLOAD_STUCK,) if is_stuck else (),
        ),
        Finding(Outcome.PASS, "waiting", queue.pending, "count"),
    ]
