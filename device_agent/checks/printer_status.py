"""State of the printer: paper, cover, cutter, head. Asks; prints nothing."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import code_ids, finding_of, judge
from device_agent.drivers.terminal.signs import signs_of
from device_agent.families import ESCPOS, TERMINAL
from protocol.records import Outcome

METRICS = ("prn.paper_near_end", "prn.head_temp_c", "prn.fail_pct", "prn.length_km")
# With these it still prints.
_PRINTS = frozenset({"ok", "busy", "paper_near"})


@check(
    "printer.status",
    zh="打印机状态",
    en="Printer status",
    families=(ESCPOS, TERMINAL),
    expected_s=0.5,
    timeout_s=15,
    finds=("escpos.eot4.paper_end", "escpos.eot2.cover_open", "term.PRN_NO_PAPER", "term.PRN_COVER"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    if ctx.device.family == ESCPOS:
        answer = ctx.device.status()
        found = finding_of(answer, "printer")
        return [_stops_printing(found, str(answer.values.get("prn.status", "offline")))]
    readings = ctx.device.readings()
    status = readings.get("prn.status")
    if status is None:
        return [Finding(Outcome.UNSUPPORTED, evidence="this terminal has no printer")]
    codes = code_ids(signs_of({"prn.status": status}))
    state = _stops_printing(Finding(Outcome.PASS, "printer", codes=codes), str(status))
    return [state, *(judge(ctx, name, readings[name]) for name in METRICS if name in readings)]


def _stops_printing(found: Finding, status: str) -> Finding:
    """However light the code is on a page: a printer that does not print does not pass."""
    outcome = found.outcome if status in _PRINTS else Outcome.FAIL
    return Finding(outcome, found.item, status, evidence=found.evidence, codes=found.codes)
