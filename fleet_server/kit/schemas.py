"""What every HTTP shape has in common: strict types in, moments as RFC 3339 with Z out, pages, problems."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    WithJsonSchema,
)

from fleet_server.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from fleet_server.kit.times import text

Item = TypeVar("Item")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]")
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

Moment = Annotated[
    datetime,
    PlainSerializer(text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _written(value: object) -> object:
    """Numbers are read as seconds or milliseconds by their size, which nobody means."""
    if isinstance(value, str) and _DATE.match(value) is None:
        raise ValueError("expected a moment as RFC 3339 has it, such as 2026-01-31T08:00:00Z")
    return value


def _within_reason(moment: datetime) -> datetime:
    """Days before it and after it can be reckoned; nothing is kept of before or after."""
    return min(max(moment, _EARLIEST), _LATEST)


AskedMoment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_within_reason)]
Cursor = Annotated[str | None, Query(max_length=400, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description=f"at most so many items, default {DEFAULT_LIMIT}")]


class Asked(BaseModel):
    """A body as callers send it: unknown fields are refused, and `false` is no number."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class PageOf(Answer, Generic[Item]):
    """``next`` is the cursor of the following page, null on the last."""

    items: list[Item]
    next: str | None


class Problem(Answer):
    """Programs read ``code``, people read ``detail``."""

    code: str
    detail: str


class Words(Answer):
    zh: str
    en: str
