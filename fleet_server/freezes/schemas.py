"""HTTP shapes of freezes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import Field, StrictBool

from fleet_server.freezes.models import Freeze
from fleet_server.freezes.occasions import Occasion
from fleet_server.freezes.service import MAX_REASON, Wish
from fleet_server.kit.schemas import Answer, Asked, AskedMoment, Moment, Words


class FreezeAsked(Asked):
    """Without ``from`` it begins now. ``all_tenants``: only for the operator of the installation."""

    begins_at: Annotated[AskedMoment | None, Field(alias="from", strict=False)] = None
    ends_at: Annotated[AskedMoment, Field(alias="to", strict=False)]
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON)]
    all_tenants: StrictBool = False

    def wish(self) -> Wish:
        return Wish(self.begins_at, self.ends_at, self.reason, self.all_tenants)


class FreezeRead(Answer):
    """``to``: one that was ended early ends there, and ``ended_by`` says by whom; else that is empty."""

    id: str
    begins_at: Annotated[Moment, Field(serialization_alias="from")]
    ends_at: Annotated[Moment, Field(serialization_alias="to")]
    reason: str
    all_tenants: bool
    is_in_force: bool
    created_by: str
    created_at: Moment
    ended_by: str


class OccasionRead(Answer):
    """Local dates, both in; ``from`` and ``to`` are the same as moments."""

    key: str
    name: Words
    first: date
    last: date
    begins_at: Annotated[Moment, Field(serialization_alias="from")]
    ends_at: Annotated[Moment, Field(serialization_alias="to")]


class OccasionsRead(Answer):
    items: list[OccasionRead]


def freeze_read(row: Freeze, now: datetime) -> FreezeRead:
    return FreezeRead(
        id=row.id,
        begins_at=row.begins_at,
        ends_at=row.ends_at,
        reason=row.reason,
        all_tenants=row.of_all,
        is_in_force=row.begins_at <= now < row.ends_at,
        created_by=row.created_by,
        created_at=row.created_at,
        ended_by=row.ended_by,
    )


def occasion_read(one: Occasion, begins_at: datetime, ends_at: datetime) -> OccasionRead:
    return OccasionRead(
        key=one.key,
        name=Words(zh=one.name.zh, en=one.name.en),
        first=one.first,
        last=one.last,
        begins_at=begins_at,
        ends_at=ends_at,
    )
