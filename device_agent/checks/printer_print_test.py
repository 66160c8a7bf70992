"""Prints a short slip and says whether it came out. Uses paper, so it is a test.

One that was interrupted is told by the printer's own counter of lines, where it has one; else nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from device_agent.actions import ActionContext, Finding, visible_test
from device_agent.checks.judging import finding_of
from device_agent.families import ESCPOS, TERMINAL
from protocol.parameters import Parameter, ParamType, Words
from protocol.records import Outcome

# Full blocks show dead dots, fine lines a worn head, both scripts a missing font.
_SLIP: Final = ("TEST PRINT", "测试打印", "0123456789 ABCDEFGHIJKLM", "█" * 24, "-" * 32)


def _slip(ctx: ActionContext) -> tuple[str, ...]:
    extra = str(ctx.params.get("text", ""))
    return (*_SLIP, extra) if extra else _SLIP


def _mark(ctx: ActionContext) -> str:
    """How many lines the printer has fed so far, where it counts them."""
    fed = ctx.device.lines_fed() if ctx.device.family == ESCPOS else None
    return "" if fed is None else str(fed)


def _since(ctx: ActionContext, mark: str) -> Sequence[Finding] | None:
    """No line since: it was not printed. As many as the slip has: it came out. Anything between is for a person."""
    before, now, lines = int(mark), ctx.device.lines_fed(), len(_slip(ctx))
    if now is None or 0 < now - before < lines or now < before:
        return None
    evidence = f"printed: its counter went from {before} to {now} lines fed, the slip has {lines}"
    return [] if now == before else [Finding(Outcome.PASS, "print", evidence=evidence)]


@visible_test(
    "printer.print_test",
    zh="打印测试",
    en="Print test",
    families=(ESCPOS, TERMINAL),
    expected_s=5,
    timeout_s=60,
    params=(Parameter("text", Words("附加文字", "Extra line"), ParamType.TEXT, required=False, max_length=32),),
    explains=Words("打印一张约六行的小票，消耗少量纸张", "Prints a slip of about six lines and uses a little paper"),
    mark=_mark,
    since=_since,
    finds=("escpos.eot4.paper_end", "escpos.eot2.cover_open", "term.PRN_NO_PAPER"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    lines = _slip(ctx)
    if ctx.device.family == ESCPOS:
        answer = ctx.device.print_test(lines)
        found = finding_of(answer, "print")
        return [found if answer.is_done else Finding(Outcome.FAIL, "print", evidence=found.evidence, codes=found.codes)]
    if "prn.status" not in ctx.device.readings():
        return [Finding(Outcome.UNSUPPORTED, "print", evidence="this terminal has no printer")]
    result = ctx.device.print_test(lines)
    return [Finding(Outcome.PASS if result.printed else Outcome.FAIL, "print", result.status)]
