"""The device's clock against the trusted clock: a signed difference in seconds."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge
from device_agent.families import HOST, TERMINAL


@check(
    "clock.read",
    zh="时钟偏差",
    en="Clock",
    families=(HOST, TERMINAL),
    expected_s=0.1,
    timeout_s=10,
    unit="s",
    finds=("term.CLOCK_INVALID",),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    drift_s = (ctx.device.clock_get().wall_ms - ctx.trusted_ms) / 1000
    return [judge(ctx, "sys.clock_drift_s", round(drift_s, 1))]
