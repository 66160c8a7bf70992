"""HTTP shapes of tenants."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fleet_server.kit.schemas import Answer, Asked, Moment


class TenantRead(Answer):
    id: str
    name: str
    created_at: Moment
    suspended_at: Moment | None


class VisitAsked(Asked):
    tenant: Annotated[str, Field(min_length=1, max_length=64)]


class VisitMade(Answer):
    """``token``: shown once. With it the routes answer of that tenant, as far as a visitor may."""

    token: str
    tenant: str
    until: Moment
