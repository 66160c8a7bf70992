"""The domains' services as the console asks them: made for one tenant, in one session."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fastapi import Request
from sqlmodel import Session
from starlette.datastructures import State

from fleet_server.audit.service import AuditService
from fleet_server.auth.roles import Actor
from fleet_server.devices.repository import DeviceRepository
from fleet_server.devices.service import DeviceService
from fleet_server.executions.overrides import OverrideService
from fleet_server.executions.service import ExecutionService
from fleet_server.faults.repository import FaultRepository
from fleet_server.faults.service import FaultService
from fleet_server.health.distribution import DistributionService, FleetValues
from fleet_server.health.repository import HealthRepository
from fleet_server.health.searching import HealthSearch
from fleet_server.health.service import HealthService
from fleet_server.ingest.dead_letters import DeadLetterService
from fleet_server.inspections.service import InspectionService
from fleet_server.playbooks.service import PlaybookService
from fleet_server.sites.shown import Sight, sight_of
from fleet_server.timeline.repository import TimelineRepository
from fleet_server.timeline.service import TimelineService


@dataclass(frozen=True)
class Services:
    """``sight``: how much of people it shows. ``state``: what requests share (`fleet_server.app`)."""

    session: Session
    tenant_id: str
    state: State
    sight: Sight

    @cached_property
    def devices(self) -> DeviceService:
        repository = DeviceRepository(self.session, self.tenant_id)
        return DeviceService(repository, self.state.capability_cache, self.sight)

    @cached_property
    def faults(self) -> FaultService:
        return FaultService(FaultRepository(self.session, self.tenant_id))

    @cached_property
    def health(self) -> HealthService:
        return HealthService(HealthRepository(self.session, self.tenant_id), self.state.settings.health_kept)

    @cached_property
    def health_search(self) -> HealthSearch:
        return HealthSearch(self.session, self.tenant_id)

    @cached_property
    def distribution(self) -> DistributionService:
        return DistributionService(FleetValues(self.session, self.tenant_id))

    @cached_property
    def overrides(self) -> OverrideService:
        return OverrideService(self.session, self.tenant_id)

    @cached_property
    def timeline(self) -> TimelineService:
        return TimelineService(TimelineRepository(self.session, self.tenant_id))

    @cached_property
    def audit(self) -> AuditService:
        return AuditService(self.session, self.tenant_id)

    @cached_property
    def dead_letters(self) -> DeadLetterService:
        return DeadLetterService(self.session, self.tenant_id)

    @cached_property
    def inspections(self) -> InspectionService:
        return InspectionService(self.session, self.tenant_id, self.devices)

    @cached_property
    def playbooks(self) -> PlaybookService:
        return PlaybookService(self.session, self.tenant_id, self.devices, self.state.outbound)

    @cached_property
    def executions(self) -> ExecutionService:
        dispatcher, outbound = self.state.dispatcher, self.state.outbound
        return ExecutionService(self.session, self.tenant_id, self.devices, dispatcher, outbound)


def services_for(request: Request, session: Session, actor: Actor) -> Services:
    return Services(session, actor.tenant_id, request.app.state, sight_of(actor))
