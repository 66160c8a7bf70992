"""What waits for people, made anew for each request that may end it: approvals, permits, enrolments, devices to retire.

Rows of the first tenant carry `SECRET`, as all that is its own.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Engine
from sqlmodel import SQLModel

from fleet_server.approvals.documents import Documents, Proposal
from fleet_server.approvals.models import ShiftPermit
from fleet_server.db import transaction
from fleet_server.enrollment.models import Enrolment, Retirement
from fleet_server.executions.models import Execution
from fleet_server.freezes.models import Freeze
from fleet_server.kit.identifiers import device_id, uuid7
from fleet_server.kit.times import utc_now
from protocol.commands import DangerClass
from tests.fleet_server.factories import RESTART, Fleet, assignment, device
from tests.fleet_server.two_tenants import OURS, SECRET

_HOUR = timedelta(hours=1)


def word_of(tenant: str) -> str:
    return SECRET if tenant == OURS else "harmless"


def new_awaited(engine: Engine, tenant: str, fleet: Fleet) -> str:
    """An execution that waits for an approver."""
    now, word = utc_now(), word_of(tenant)
    run_id = uuid7(now)
    with transaction(engine) as session:
        session.add(_awaiting(run_id, tenant, fleet, now))
        session.flush()
        wanted = Proposal(
            run_id, fleet.terminal, RESTART.name, {}, DangerClass.CHANGES, word, f"because of {word}", now + _HOUR
        )
        Documents(session, tenant).propose(wanted, now)
    return run_id


def _awaiting(run_id: str, tenant: str, fleet: Fleet, now: datetime) -> Execution:
    return Execution(
        id=run_id,
        tenant_id=tenant,
        device_id=fleet.terminal,
        link_id=fleet.gateway,
        action=RESTART.name,
        kind=RESTART.kind.value,
        danger_class=int(RESTART.danger_class),
        params={},
        declared=msgspec.to_builtins(RESTART),
        actor=word_of(tenant),
        state="AWAITING_APPROVAL",
        created_at=now,
        queued_until=now + _HOUR,
        deadline_at=now + _HOUR,
    )


def new_permit(engine: Engine, tenant: str) -> str:
    now = utc_now()
    row = ShiftPermit(
        id=uuid7(now),
        tenant_id=tenant,
        people=word_of(tenant),
        envelope="{}",
        actions=[RESTART.name],
        target_count=1,
        max_count=1,
        max_per_device=1,
        reason=word_of(tenant),
        not_before=now,
        not_after=now + _HOUR,
        created_at=now,
    )
    return _added(engine, row, row.id)


def new_freeze(engine: Engine, tenant: str, **more: Any) -> str:
    """In force for an hour from now on."""
    now, word = utc_now(), word_of(tenant)
    row = Freeze(
        id=uuid7(now),
        tenant_id=tenant,
        **{"begins_at": now, "ends_at": now + _HOUR, "reason": word, "created_by": word, "created_at": now, **more},
    )
    return _added(engine, row, row.id)


def new_enrolment(engine: Engine, tenant: str, site: str, state: str) -> str:
    now = utc_now()
    row = Enrolment(
        id=uuid7(now),
        tenant_id=tenant,
        kind="new",
        state=state,
        device_id=device_id(),
        serial_number=f"{word_of(tenant)}-{now:%f}",
        model="A920",
        terminal_class="smart",
        site_id=site,
        needs_approval=True,
        address=word_of(tenant),
        created_by=word_of(tenant),
        created_at=now,
        expires_at=now + _HOUR,
        asked_at=now,
    )
    return _added(engine, row, row.id)


def new_device(engine: Engine, tenant: str, site: str) -> str:
    """In service, with nothing on its lines."""
    row = device(device_id(), site, tenant, label_zh=word_of(tenant), label_en=word_of(tenant))
    return _added(engine, row, row.id)


def new_retired(engine: Engine, tenant: str, site: str) -> str:
    now = utc_now()
    gone = device(device_id(), site, tenant, retired_at=now)
    name = gone.id
    row = Retirement(
        device_id=name,
        tenant_id=tenant,
        link_id=name,
        reason="swapped",
        note=word_of(tenant),
        retired_by=word_of(tenant),
        at=now,
        enforced_at=now,
    )
    with transaction(engine) as session:
        session.add(gone)
    return _added(engine, row, name)


def _added(engine: Engine, row: SQLModel, name: str) -> str:
    with transaction(engine) as session:
        session.add(row)
    return name


def new_assignment(engine: Engine, tenant: str, device_id: str | None, *, assignee: str = "", **more: Any) -> str:
    """To the technician of the tenant, or to ``assignee`` (an id). ``more``: as `assignment` has it."""
    by = word_of(tenant)
    row = assignment(assignee or f"p-{tenant}-technician", device_id=device_id, tenant=tenant, created_by=by, **more)
    with transaction(engine) as session:
        session.add(row)
    return row.id
