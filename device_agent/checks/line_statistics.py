"""How well the line to the device works: damaged frames, missing answers, refused frames among the last exchanges."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge
from device_agent.drivers.results import LineStatistics, RecentExchanges
from device_agent.families import ON_A_LINE
from protocol.records import Outcome


@check(
    "line.statistics",
    zh="串口线路统计",
    en="Serial line statistics",
    families=ON_A_LINE,
    expected_s=0.05,
    timeout_s=5,
    finds=("term.SERIAL_FRAME", "term.SERIAL_TIMEOUT"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    line: LineStatistics = ctx.device.line_statistics
    recent: RecentExchanges = ctx.device.recent_exchanges
    if not recent.exchanges:
        return [Finding(Outcome.ERROR, evidence="nothing has been asked on this line yet")]
    return [
        _rate(ctx, "serial.crc_err_pct", recent, recent.damaged, f"{line.noise_bytes} bytes of noise since the start"),
        _rate(ctx, "serial.timeout_pct", recent, recent.timed_out),
        _rate(ctx, "serial.nak_pct", recent, recent.refused),
        Finding(Outcome.PASS, "frames", line.frames, evidence=_counts(line)),
    ]


def _rate(ctx: ActionContext, metric: str, recent: RecentExchanges, wrong: int, more: str = "") -> Finding:
    said = f"{wrong} of the last {recent.exchanges} exchanges" + (f", {more}" if more else "")
    rate = recent.rate(wrong)
    if rate is None:
        return Finding(Outcome.PASS, metric, evidence=f"{said}: too few to tell a rate from")
    return judge(ctx, metric, rate, evidence=said)


def _counts(line: LineStatistics) -> str:
    return (
        f"since the start {line.requests} requests, {line.received_bytes} bytes in, {line.sent_bytes} bytes out, "
        f"{line.timeouts} without an answer, {line.bad_frames} damaged frames, reopened {line.reopened} times"
    )
