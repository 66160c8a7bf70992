"""What every HTTP shape has in common: strict types in, moments as RFC 3339 with Z out, pages, problems."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from fleet_server.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from fleet_server.kit.times import text

Item = TypeVar("Item")

Moment = Annotated[
    datetime,
    PlainSerializer(text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
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
