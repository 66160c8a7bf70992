"""The domains' services as the console asks them: made for one tenant, in one session."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sqlmodel import Session

from fleet_server.devices.repository import DeviceRepository
from fleet_server.devices.service import CapabilityCache, DeviceService

# Parsed capability documents are the same for everybody; one cache a process.
_CAPABILITIES = CapabilityCache()


@dataclass(frozen=True)
class Services:
    session: Session
    tenant_id: str

    @cached_property
    def devices(self) -> DeviceService:
        return DeviceService(DeviceRepository(self.session, self.tenant_id), _CAPABILITIES)
