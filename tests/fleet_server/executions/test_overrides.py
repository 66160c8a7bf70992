"""How often rules are set aside: counted on rows of both databases, told by the API, a page and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.commands.overrides import lines
from fleet_server.db import reading, transaction
from fleet_server.executions.ledger import PRE_CHECK
from fleet_server.executions.models import Execution
from fleet_server.executions.overrides import JUDGED_FROM, OverrideReport, OverrideService
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.times import utc_now
from protocol.commands import ActionKind
from protocol.executions import ExecutionState
from protocol.safety import Condition
from tests.fleet_server.api import OTHER_TENANT, Api, running_api
from tests.fleet_server.factories import TENANT

NOW = utc_now()
BATTERY, WINDOW = Condition.BATTERY_LOW.value, Condition.OUTSIDE_WINDOW.value


@pytest.fixture
def api(engine: Engine, tmp_path: Path) -> Iterator[Api]:
    with running_api(engine, tmp_path) as running:
        yield running


def fix(
    session: Session,
    *overridden: str,
    count: int = 1,
    tenant: str = TENANT,
    at: datetime = NOW - timedelta(days=1),
    kind: ActionKind = ActionKind.FIX,
    is_begun: bool = True,
    **more: Any,
) -> None:
    for _ in range(count):
        session.add(
            Execution(
                id=uuid7(at),
                tenant_id=tenant,
                device_id="d-one-terminal",
                link_id="d-one-gateway",
                action="app.restart",
                kind=kind.value,
                danger_class=1,
                params={},
                declared={},
                actor="somebody",
                state=ExecutionState.SUCCEEDED.value,
                is_final=True,
                overridden=list(overridden),
                created_at=at,
                queued_until=at,
                started_at=at if is_begun else None,
                **more,
            )
        )


def told(engine: Engine, tenant: str = TENANT, days: int = 30) -> OverrideReport:
    with reading(engine) as session:
        return OverrideService(session, tenant).between(NOW - timedelta(days=days), NOW)


def shares(report: OverrideReport) -> dict[str, tuple[int, float, bool]]:
    return {one.rule: (one.count, round(one.share_pct, 1), one.is_wrong) for one in report.rules}


def test_each_rule_is_counted_and_a_fix_once_however_many_it_went_past(engine: Engine) -> None:
    with transaction(engine) as session:
        fix(session, count=35)
        fix(session, BATTERY, WINDOW, count=3, override_reason="now", override_holds=True)
        fix(session, BATTERY, override_reason="now", override_holds=True)
        fix(session, PRE_CHECK, override_reason="to be sure")
    report = told(engine)
    assert (report.fixes, report.overridden, report.share_pct) == (40, 5, 12.5)
    assert shares(report) == {BATTERY: (4, 10.0, True), WINDOW: (3, 7.5, True), "pre_check": (1, 2.5, False)}
    assert [one.rule for one in report.rules] == [BATTERY, WINDOW, "pre_check"]


def test_a_reason_that_overrode_nothing_counts_for_nothing(engine: Engine) -> None:
    with transaction(engine) as session:
        fix(session, override_reason="to be sure")
        fix(session, override_reason="now", override_holds=True)
    report = told(engine)
    assert (report.fixes, report.overridden, report.rules) == (2, 0, [])


def test_a_fix_that_ran_although_nothing_was_wrong_and_at_a_bad_moment_counts_for_both_rules(engine: Engine) -> None:
    with transaction(engine) as session:
        fix(session, BATTERY, PRE_CHECK, override_reason="now", override_holds=True)
    assert set(shares(told(engine))) == {BATTERY, "pre_check"}


def test_rule_is_wrong_above_five_percent_and_not_at_five(engine: Engine) -> None:
    with transaction(engine) as session:
        fix(session, count=57)
        fix(session, BATTERY, count=3)
    assert shares(told(engine))[BATTERY] == (3, 5.0, False)
    with transaction(engine) as session:
        fix(session, BATTERY)
    assert shares(told(engine))[BATTERY] == (4, 6.6, True)


def test_no_rule_is_judged_by_a_handful_of_fixes(engine: Engine) -> None:
    with transaction(engine) as session:
        fix(session, BATTERY, count=JUDGED_FROM - 1)
    assert not told(engine).is_judged
    assert shares(told(engine))[BATTERY] == (JUDGED_FROM - 1, 100.0, False)
    assert told(engine, days=0).share_pct == 0


def test_only_fixes_of_this_tenant_and_time_that_were_begun_count(engine: Engine) -> None:
    with transaction(engine) as session:
        fix(session)
        fix(session, BATTERY, tenant=OTHER_TENANT)
        fix(session, BATTERY, at=NOW - timedelta(days=31))
        fix(session, BATTERY, kind=ActionKind.TEST)
        fix(session, BATTERY, is_begun=False)
    assert (told(engine).fixes, told(engine).rules) == (1, [])
    assert told(engine, OTHER_TENANT).overridden == 1
    assert told(engine, days=40).overridden == 1


def test_api_and_command_line_say_that_the_rule_is_wrong(api: Api) -> None:
    with transaction(api.engine) as session:
        fix(session, count=JUDGED_FROM)
        fix(session, BATTERY, count=2)
    found = api.get("/api/v1/overrides", "viewer").json()
    assert found["rules"] == [{"rule": BATTERY, "count": 2, "share_pct": 9.09, "is_wrong": True}]
    assert (found["fixes"], found["overridden"], found["is_judged"]) == (22, 2, True)
    assert api.get("/api/v1/overrides", "stranger").json()["fixes"] == 0
    assert api.get("/api/v1/overrides", days=0).status_code == 422
    assert lines(found, "en") == [
        "2 of 22 fixes (9.1 %) were begun in spite of a rule.",
        "2\t9.1 %\tthe battery is low",
        "The rule is wrong, not the people: more than 5 % of fixes went past “the battery is low”. Change the rule.",
    ]
    assert "错的是规则“电量低”，不是人" in lines(found, "zh")[-1]
    few = {**found, "is_judged": False, "rules": []}
    assert lines(few, "en")[-1] == "Too few fixes to judge rules by."
