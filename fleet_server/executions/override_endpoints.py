"""HTTP door of the report on overrides: which rules people set aside, and how often."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.executions.overrides import JUDGED_FROM, WRONG_ABOVE_PCT, OverrideReport, OverrideService
from fleet_server.kit.schemas import Moment
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

MAX_DAYS = 400
USUAL_DAYS = 30
Days = Annotated[int, Query(ge=1, le=MAX_DAYS, description="of fixes asked for in so many days until now")]

router = APIRouter(prefix="/api/v1/overrides", tags=["executions"], dependencies=[needs(Permission.EXECUTIONS_READ)])


class RuleRead(BaseModel):
    rule: str = Field(description="a condition that would have held it, or pre_check")
    count: int
    share_pct: float = Field(description="of all fixes that were begun")
    is_wrong: bool = Field(description=f"more than {WRONG_ABOVE_PCT:g} %: the rule is wrong, not the people")


class OverridesRead(BaseModel):
    since: Moment
    until: Moment
    fixes: int = Field(description="that were begun")
    overridden: int = Field(description="of these, in spite of at least one rule")
    share_pct: float
    is_judged: bool = Field(description=f"whether there are the {JUDGED_FROM} fixes that a judgement needs")
    rules: list[RuleRead]


async def override_service(session: SessionDep, caller: CallerDep) -> OverrideService:
    return OverrideService(session, caller.tenant_id)


OverrideServiceDep = Annotated[OverrideService, Depends(override_service)]


@router.get("")
def overrides(service: OverrideServiceDep, days: Days = USUAL_DAYS) -> OverridesRead:
    """How many fixes were begun in spite of a rule, rule by rule."""
    now = utc_now()
    return overrides_read(service.between(now - timedelta(days=days), now))


def overrides_read(found: OverrideReport) -> OverridesRead:
    rules = [
        RuleRead(rule=one.rule, count=one.count, share_pct=round(one.share_pct, 2), is_wrong=one.is_wrong)
        for one in found.rules
    ]
    return OverridesRead(
        since=found.since,
        until=found.until,
        fixes=found.fixes,
        overridden=found.overridden,
        share_pct=round(found.share_pct, 2),
        is_judged=found.is_judged,
        rules=rules,
    )
