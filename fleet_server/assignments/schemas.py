"""HTTP shapes of assignments."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from fleet_server.assignments.service import Assigned, Wish
from fleet_server.kit.schemas import Answer, Asked, AskedMoment, Moment


def _only(name: str, other: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": "string"}, other: {"type": "null"}}}


class AssignmentAsked(Asked):
    """``assignee``: the name of a technician, or of a technician's token. Either ``device`` or ``site``. Without
    ``from`` it begins now.
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": [_only("device", "site"), _only("site", "device")]})

    assignee: Annotated[str, Field(min_length=1, max_length=80)]
    device: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    site: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    begins_at: Annotated[AskedMoment | None, Field(alias="from", strict=False)] = None
    ends_at: Annotated[AskedMoment, Field(alias="to", strict=False)]

    def wish(self) -> Wish:
        begins_at: datetime | None = self.begins_at
        return Wish(self.assignee, self.device, self.site, begins_at, self.ends_at)


class AssignmentRead(Answer):
    """``to``: one that was ended early ends there. ``assignee``: empty for somebody who was erased."""

    id: str
    assignee: str
    device: str | None
    site: str | None
    begins_at: Annotated[Moment, Field(serialization_alias="from")]
    ends_at: Annotated[Moment, Field(serialization_alias="to")]
    created_by: str
    created_at: Moment


def assignment_read(one: Assigned) -> AssignmentRead:
    return AssignmentRead(
        id=one.row.id,
        assignee=one.assignee,
        device=one.row.device_id,
        site=one.row.site_id,
        begins_at=one.row.begins_at,
        ends_at=one.row.ends_at,
        created_by=one.row.created_by,
        created_at=one.row.created_at,
    )
