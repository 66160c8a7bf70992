"""Why something was not assigned."""

from __future__ import annotations

from fleet_server.errors import FleetError


class AssignmentNotFound(FleetError):
    code = "assignment_not_found"
    status = 404

    def __init__(self, assignment_id: str) -> None:
        super().__init__(f"assignment {assignment_id[:64]!r} is not known here")


class AssigneeUnusable(FleetError):
    """Nobody of this name works by assignments."""

    code = "assignee_unusable"
    status = 422


class AssignmentInvalid(FleetError):
    code = "assignment_invalid"
    status = 422


class TooManyAssignments(FleetError):
    code = "too_many_assignments"
    status = 409
