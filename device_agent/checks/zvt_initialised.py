"""Whether the payment terminal needs an initialisation: by its status (05 01), else by a call to its host (06 70).

The status byte shows outdated parameters, not a lost registration, which only the host's side of a function tells.
What initialising does not mend is not judged here. It passes only by the host's word of this moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import finding_of
from device_agent.checks.zvt_status import status_finding
from device_agent.drivers.zvt.codes import MENDED_BY_INITIALISING
from device_agent.families import ZVT
from protocol.parameters import Words
from protocol.records import Outcome


@check(
    "zvt.initialised",
    zh="是否需要初始化（连接主机）",
    en="Does it need initialising (calls its host)",
    families=(ZVT,),
    expected_s=15,
    timeout_s=220,
    explains=Words(
        "先查状态，状态正常时再联系收单主机确认，约需十几秒，期间不能收款",
        "Asks for the status and, when that is good, calls the host; no payment in those seconds",
    ),
    finds=MENDED_BY_INITIALISING,
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    status = ctx.device.status_enquiry()
    if not status.is_done or status.code in MENDED_BY_INITIALISING:
        return [status_finding(status)]
    host = ctx.device.diagnosis()
    found = finding_of(host, "host")
    if host.is_done or host.code in MENDED_BY_INITIALISING:
        return [found]
    return [replace(found, outcome=Outcome.ERROR)]
