"""How well the line to the device works: damaged frames, missing answers, refused frames, since the agent started."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge
from device_agent.drivers.results import LineStatistics
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
    if not line.requests:
        return [Finding(Outcome.ERROR, evidence="nothing has been asked on this line yet")]
    frames = line.frames + line.bad_frames
    return [
        judge(
            ctx, "serial.crc_err_pct", _share(line.bad_frames, frames), evidence=f"{line.noise_bytes} bytes of noise"
        ),
        judge(ctx, "serial.timeout_pct", _share(line.timeouts, line.requests)),
        judge(ctx, "serial.nak_pct", _share(line.naks, line.requests)),
        Finding(Outcome.PASS, "frames", line.frames, evidence=_counts(line)),
    ]


def _share(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _counts(line: LineStatistics) -> str:
    return (
        f"{line.requests} requests, {line.received_bytes} bytes in, {line.sent_bytes} bytes out, "
        f"{line.timeouts} without an answer, reopened {line.reopened} times"
    )
