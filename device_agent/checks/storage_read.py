"""Free storage, and how much of it the logs hold. Wear and read errors of the chip are another matter."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge
from device_agent.families import HOST, TERMINAL
from protocol.records import Limits, Outcome

_MIB = 1024 * 1024


@check(
    "storage.read",
    zh="存储空间",
    en="Storage",
    families=(HOST, TERMINAL),
    expected_s=0.2,
    timeout_s=15,
    finds=("term.STORAGE_FULL",),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    storage = ctx.device.storage()
    findings = [judge(ctx, "sys.storage_free_pct", storage.free_pct, evidence=f"{storage.free_mb:.0f} MiB free")]
    logs = ctx.device.logs_status()
    if logs is not None:
        is_over = logs.size_bytes > logs.limit_bytes
        findings.append(
            Finding(
                Outcome.WARN if is_over else Outcome.PASS,
                "logs",
                round(logs.size_bytes / _MIB, 1),
                "MiB",
                Limits(high=round(logs.limit_bytes / _MIB, 1)),
                f"{logs.files} files",
            )
        )
    return findings
