"""Everything that the page of one walk shows; for the page and for the stream that renews it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from fleet_server.console.frame import Frame
from fleet_server.console.services import Services
from fleet_server.console.view_models.fleet import place_name
from fleet_server.console.view_models.playbooks import walk_view
from fleet_server.devices.service import DeviceAtSite
from fleet_server.executions.models import Execution


class WalkParts:
    def __init__(self, services: Services, walk_id: str) -> None:
        self._services = services
        self.read = services.playbooks.get(walk_id)

    @cached_property
    def at_site(self) -> DeviceAtSite:
        return self._services.devices.get(self.read.row.device_id)

    @property
    def timezone(self) -> str:
        return self.at_site.site.timezone

    def values(self, frame: Frame) -> dict[str, Any]:
        device = self.at_site.device
        return {
            "walk": walk_view(self.read, self._executions(), frame.calendar),
            "place": place_name(device, self.at_site.site, frame.calendar),
            "number": device.terminal_id or device.serial_number,
        }

    def _executions(self) -> dict[str, Execution]:
        """At most as many as a walk has steps."""
        ids = [one.execution_id for one in self.read.steps if one.execution_id is not None]
        return {one: self._services.executions.get(one) for one in ids}
