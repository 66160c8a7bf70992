"""HTTP door of retirements: taking a device out of service, and whether the broker refuses it yet."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from fleet_server.access import CallerDep, needs
from fleet_server.auth.roles import Permission
from fleet_server.devices.endpoints import DeviceIdPath
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.enrollment.models import Retirement
from fleet_server.enrollment.retirement import Reason, Retirements
from fleet_server.kit.schemas import Answer, Asked, Moment
from fleet_server.kit.times import utc_now
from fleet_server.request_session import SessionDep

router = APIRouter(prefix="/api/v1/devices", tags=["enrolment"])


class RetirementAsked(Asked):
    reason: Annotated[Reason, Field(strict=False)]
    note: Annotated[str, Field(max_length=300, description="for people; no card numbers")] = ""


class RetirementRead(Answer):
    """``enforced_at``: when the broker was seen to refuse it; null: it is being shut out."""

    device: str
    reason: Reason
    note: str
    retired_by: str
    at: Moment
    enforced_at: Moment | None


def retirements(session: SessionDep, caller: CallerDep) -> Retirements:
    return Retirements(session, caller, utc_now())


RetirementsDep = Annotated[Retirements, Depends(retirements)]


@router.post("/{device_id}/retirement", dependencies=[needs(Permission.DEVICES_REVOKE)])
def retire(retirements: RetirementsDep, device_id: DeviceIdPath, asked: RetirementAsked) -> RetirementRead:
    """For good: stolen, swapped, retired, or its key in other hands. What hangs on its lines goes with it."""
    return _read(retirements.retire(device_id, asked.reason, asked.note))


@router.get("/{device_id}/retirement", dependencies=[needs(Permission.DEVICES_READ)])
def read_retirement(retirements: RetirementsDep, device_id: DeviceIdPath) -> RetirementRead:
    found = retirements.find(device_id)
    if found is None:
        raise DeviceNotFound(device_id)
    return _read(found)


def _read(row: Retirement) -> RetirementRead:
    return RetirementRead(
        device=row.device_id,
        reason=Reason(row.reason),
        note=row.note,
        retired_by=row.retired_by,
        at=row.at,
        enforced_at=row.enforced_at,
    )
