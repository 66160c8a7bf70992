"""What inspections refuse."""

from __future__ import annotations

from fleet_server.errors import FleetError


class InspectionNotFound(FleetError):
    code = "inspection_not_found"
    status = 404

    def __init__(self, inspection_id: str) -> None:
        super().__init__(f"there is no inspection {inspection_id[:64]!r}")


class InspectionInvalid(FleetError):
    """Names the field, what was expected and what came."""

    code = "inspection_invalid"
    status = 422


class InspectionChanged(FleetError):
    """Somebody else was faster: the version that was read is not the newest."""

    code = "inspection_changed"
    status = 409


class InspectionEnded(FleetError):
    code = "inspection_ended"
    status = 409


class TooManyInspections(FleetError):
    code = "too_many_inspections"
    status = 409
