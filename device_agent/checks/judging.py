"""From values and answers to findings: by the catalogue's normal range for the class, and by the codes a value shows.

A code of weight (major or critical) makes FAIL; a lighter one, and a value that merely left its normal range, make
WARN. What is normal is never written into a check.
"""

from __future__ import annotations

from device_agent.actions import ActionContext, Finding
from device_agent.drivers.results import Answer, FaultSign, Reading
from device_agent.drivers.results import Outcome as AnswerOutcome
from device_agent.drivers.terminal.signs import signs_of
from device_agent.errors import ActionFailed
from protocol.catalogue import codes, metrics
from protocol.catalogue.normal_range import AtLeast, AtMost, Between, NormalRange
from protocol.catalogue.vocabulary import Severity, TerminalClass
from protocol.identifiers import CodeId
from protocol.records import Limits, Outcome

_CLASSES = {each.value: each for each in TerminalClass}
NOT_CONFIGURED = "not_configured"
_WEIGHTY = frozenset({Severity.MAJOR, Severity.CRITICAL})


def judge(ctx: ActionContext, metric_name: str, value: Reading, *, evidence: str = "") -> Finding:
    """``value`` of ``metric_name`` as one item, with the unit and the limits of this terminal's class."""
    metric = metrics.get(metric_name)
    shown = int(value) if isinstance(value, bool) else value
    if metric is None:
        return Finding(Outcome.PASS, metric_name, shown, evidence=evidence)
    terminal_class = _CLASSES[ctx.terminal_class]
    signs = signs_of({metric_name: shown})
    outcome = Outcome.WARN if metric.judge(shown, terminal_class).is_abnormal else Outcome.PASS
    if signs:
        outcome = outcome_of_codes(*(sign.code for sign in signs))
    unit = "" if metric.is_text or metric.unit in {"bool", "code"} else metric.unit
    limits = limits_of(metric.normal(terminal_class))
    return Finding(outcome, metric_name, shown, unit, limits, evidence, code_ids(signs))


def judge_all(ctx: ActionContext, names: tuple[str, ...], readings: dict[str, Reading]) -> list[Finding]:
    """One finding for each of ``names`` that was measured; UNSUPPORTED when none was."""
    findings = [judge(ctx, name, readings[name]) for name in names if name in readings]
    return findings or [Finding(Outcome.UNSUPPORTED, evidence="this device does not measure it")]


def unsupported_if_not_configured(refused: ActionFailed) -> Finding:
    """What nobody has set up here is no error of the device; any other refusal is passed on."""
    if refused.reason != NOT_CONFIGURED:
        raise refused
    return Finding(Outcome.UNSUPPORTED, evidence=str(refused)[:200])


def outcome_of_codes(*code_list: str) -> Outcome:
    meanings = [codes.get(code) for code in code_list]
    return Outcome.FAIL if any(each is None or each.severity in _WEIGHTY for each in meanings) else Outcome.WARN


def code_ids(signs: frozenset[FaultSign]) -> tuple[CodeId, ...]:
    return tuple(sorted(CodeId(sign.code) for sign in signs))


def limits_of(normal: NormalRange | None) -> Limits | None:
    match normal:
        case AtMost(limit):
            return Limits(high=limit)
        case AtLeast(limit):
            return Limits(low=limit)
        case Between(low, high):
            return Limits(low=low, high=high)
        case _:
            return None


def finding_of(answer: Answer, item: str = "", *, needs: str | None = None) -> Finding:
    """A driver's answer as one finding: what it names as a code decides, then whether it came at all.

    ``needs``: the value without which a good answer says nothing.
    """
    named = () if answer.code is None else (CodeId(answer.code),)
    if answer.is_done and not named and needs is not None and needs not in answer.values:
        return Finding(Outcome.ERROR, item, evidence=f"{answer.evidence[:400]}: not told")
    if answer.is_done:
        outcome = outcome_of_codes(*named) if named else Outcome.PASS
    else:
        outcome = Outcome.ERROR if answer.outcome is AnswerOutcome.NO_ANSWER and not named else Outcome.FAIL
    return Finding(outcome, item, evidence=answer.evidence[:500], codes=named)
