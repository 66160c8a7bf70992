"""Why software was not published, and why a device is not given any."""

from __future__ import annotations

from fleet_server.errors import FleetError


class ArtifactsRefused(FleetError):
    """Names the file or the rule, what was expected and what came."""

    code = "artifacts_refused"
    status = 409


class DeviceUnknown(FleetError):
    """Not one of this installation's devices in service, or not proved to be."""

    code = "device_unknown"
    status = 403


class ArtifactNotFound(FleetError):
    code = "artifact_not_found"
    status = 404
