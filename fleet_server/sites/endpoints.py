"""HTTP door of sites: whom to call where, as the caller may see it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.devices.schemas import SiteRead, site_read
from fleet_server.kit.pagination import DEFAULT_LIMIT
from fleet_server.kit.schemas import Cursor, Limit, PageOf
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep
from fleet_server.sites.files import read_sites, written
from fleet_server.sites.schemas import PlaceAsked, SiteAsked, SiteChange, SitesAsked, SitesTaken
from fleet_server.sites.service import SiteService

router = APIRouter(prefix="/api/v1", tags=["sites"])
SiteIdPath = Annotated[str, Path(max_length=64, description="id of the site")]
_READ = needs(Permission.DEVICES_READ)
_MANAGE = needs(Permission.SITES_MANAGE)


def site_service(session: SessionDep, caller: CallerDep) -> SiteService:
    return SiteService(session, caller, utc_now())


SiteServiceDep = Annotated[SiteService, Depends(site_service)]


@router.get("/sites", dependencies=[_READ])
def list_sites(
    sites: SiteServiceDep,
    q: Annotated[str, Query(max_length=200, description="a merchant id, or words of names")] = "",
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageOf[SiteRead]:
    """In the order of their ids."""
    page = sites.page(q, cursor, limit)
    return PageOf(items=[site_read(one) for one in page.items], next=page.next)


@router.post("/sites", status_code=201, dependencies=[_MANAGE])
def add_site(sites: SiteServiceDep, asked: SiteAsked) -> SiteRead:
    return site_read(sites.add(asked.given()))


@router.post("/sites/export", dependencies=[_MANAGE], response_class=Response)
def export_sites(sites: SiteServiceDep) -> Response:
    """All sites as CSV. Contact data is in full for those who may see it; the export is written down."""
    headers = {"Content-Disposition": 'attachment; filename="sites.csv"'}
    return Response("".join(written(sites.all())), media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/sites/import", dependencies=[_MANAGE])
def import_sites(sites: SiteServiceDep, asked: SitesAsked) -> SitesTaken:
    """A CSV file, all of it or nothing: a line with an id changes that site, one without is a new site."""
    added, changed = sites.take_in(read_sites(asked.csv))
    return SitesTaken(added=added, changed=changed)


@router.get("/sites/{site_id}", dependencies=[_READ])
def get_site(sites: SiteServiceDep, site_id: SiteIdPath) -> SiteRead:
    return site_read(sites.get(site_id))


@router.patch("/sites/{site_id}", dependencies=[_MANAGE])
def change_site(sites: SiteServiceDep, site_id: SiteIdPath, asked: SiteChange) -> SiteRead:
    return site_read(sites.change(site_id, asked.given()))


@router.post("/sites/{site_id}/open", dependencies=[needs(Permission.PERSONAL_OPEN)])
def open_site(sites: SiteServiceDep, site_id: SiteIdPath) -> SiteRead:
    """Whom to call there, in full, for those who see it masked. Each opening is written down."""
    return site_read(sites.open(site_id))


@router.put("/devices/{device_id}/site", dependencies=[needs(Permission.DEVICES_MANAGE)])
def move_device(sites: SiteServiceDep, device_id: Annotated[str, Path(max_length=64)], asked: PlaceAsked) -> SiteRead:
    """The device stands at another site from now on."""
    return site_read(sites.move(device_id, asked.site))
