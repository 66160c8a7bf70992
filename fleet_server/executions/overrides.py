"""How often people begin a fix that a rule would have held: a rule that is overridden often is wrong, not the people.

Counted are the fixes of a tenant that were begun, by what their terminals say. A rule is a condition that would have
held the fix and that somebody took upon themselves (`protocol.safety.Condition`), or `ledger.PRE_CHECK`: it ran though
the check before found nothing wrong. A reason that overrode nothing, because the fault was there, counts for nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Text, cast, func, select
from sqlmodel import Session

from fleet_server.executions.models import Execution
from protocol.commands import ActionKind

# Above this share of fixes the rule is said to be wrong.
WRONG_ABOVE_PCT: Final = 5.0
# Of fewer fixes a single one would be too many.
JUDGED_FROM: Final = 20
_TABLE = Execution.__table__  # type: ignore[attr-defined]  # SQLModel tables have it


@dataclass(frozen=True, slots=True)
class RuleCount:
    """``count``: the fixes begun in spite of the rule. ``is_wrong``: more than `WRONG_ABOVE_PCT` of them all."""

    rule: str
    count: int
    share_pct: float
    is_wrong: bool


@dataclass(frozen=True, slots=True)
class OverrideReport:
    """``overridden``: fixes begun in spite of at least one rule. ``rules``: those that were, most often first."""

    since: datetime
    until: datetime
    fixes: int
    overridden: int
    rules: list[RuleCount]

    @property
    def share_pct(self) -> float:
        return _share_pct(self.overridden, self.fixes)

    @property
    def is_judged(self) -> bool:
        return self.fixes >= JUDGED_FROM


class OverrideService:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def between(self, since: datetime, until: datetime) -> OverrideReport:
        """Of the fixes that were asked for from ``since`` to ``until``."""
        held = cast(_TABLE.c.overridden, Text)
        counted = (
            select(held, func.count())
            .where(
                _TABLE.c.tenant_id == self._tenant_id,
                _TABLE.c.kind == ActionKind.FIX.value,
                _TABLE.c.created_at >= since,
                _TABLE.c.created_at < until,
                _TABLE.c.started_at.is_not(None),
            )
            .group_by(held)
        )
        return report(since, until, [tuple(row) for row in self._session.execute(counted)])


def report(since: datetime, until: datetime, rows: list[tuple[Any, ...]]) -> OverrideReport:
    """``rows``: the rules that were set aside as JSON, how many fixes."""
    fixes = overridden = 0
    by_rule: Counter[str] = Counter()
    for held, count in rows:
        rules = json.loads(held)
        fixes += count
        overridden += count if rules else 0
        by_rule.update(dict.fromkeys(rules, count))
    shares = [(rule, count, _share_pct(count, fixes)) for rule, count in by_rule.items()]
    is_judged = fixes >= JUDGED_FROM
    rules = [RuleCount(rule, count, pct, is_judged and pct > WRONG_ABOVE_PCT) for rule, count, pct in shares]
    return OverrideReport(since, until, fixes, overridden, sorted(rules, key=lambda one: (-one.count, one.rule)))


def _share_pct(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
