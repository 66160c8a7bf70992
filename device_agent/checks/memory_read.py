"""Free memory, and how much the payment application holds."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge
from device_agent.families import HOST, TERMINAL


@check(
    "memory.read",
    zh="内存",
    en="Memory",
    families=(HOST, TERMINAL),
    expected_s=0.1,
    timeout_s=10,
    finds=("agent.MEMORY_LOW",),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    memory = ctx.device.memory()
    findings = [judge(ctx, "sys.mem_avail_pct", memory.avail_pct)]
    if memory.app_rss_mb is not None:
        findings.append(judge(ctx, "sys.app_rss_mb", memory.app_rss_mb))
    return findings
