"""Why an installation or an enrolment could not be made."""

from __future__ import annotations

from fleet_server.errors import FleetError


class DataFolderUnusable(FleetError):
    code = "data_folder_unusable"


class FleetFileInvalid(FleetError):
    """Names the file, the place in it, what was expected and what came."""

    code = "fleet_file_invalid"
    status = 422


class NameNotEnrollable(FleetError):
    """A common name that no link may have."""

    code = "name_not_enrollable"
    status = 422
