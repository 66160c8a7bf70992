"""Why a device was not shown."""

from __future__ import annotations

from fleet_server.errors import FleetError


class DeviceNotFound(FleetError):
    code = "device_not_found"
    status = 404

    def __init__(self, device_id: str) -> None:
        super().__init__(f"device {device_id[:64]!r} is not known here")
