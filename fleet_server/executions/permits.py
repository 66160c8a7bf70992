"""Which shift permit allows what is asked: one that covers it and is not used up. A demo makes its own."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from fleet_server.approvals.documents import AUTHORISED_BEFORE, Documents, Proposal
from fleet_server.executions.repository import ExecutionRepository
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.times import to_ms
from fleet_server.signer.demo import DemoApprover
from protocol.authorisations import MAX_GRANTS, Authorisation, AuthorisationKind, Grant
from protocol.commands import DangerClass

# Somebody else than who signs, as everywhere.
_ASKED_BY = "demo"
_DEMO_SHIFT = timedelta(hours=12)
_DEMO_USES = 10_000
_DEMO_USES_PER_DEVICE = 1000


def usable_permit(documents: Documents, executions: ExecutionRepository, wanted: Proposal, now: datetime) -> str | None:
    """Its id. The signer counts again, for itself."""
    found = documents.covering(wanted, now)
    if not found:
        return None
    ids = [one.id for one in found]
    in_all, here = executions.permit_uses(ids), executions.permit_uses(ids, wanted.device_id)
    usable = (
        one.id for one in found if in_all.get(one.id, 0) < one.max_count and here.get(one.id, 0) < one.max_per_device
    )
    return next(usable, None)


def make_demo_permit(
    documents: Documents, approver: DemoApprover, wanted: Proposal, actions: Collection[str], now: datetime
) -> str:
    """For all that this device declares, until the end of a shift. ``actions``: of class 1."""
    others = sorted(set(actions) - {wanted.action})[: MAX_GRANTS - 1]
    document = Authorisation(
        id=uuid7(now),
        tenant=documents.tenant_id,
        kind=AuthorisationKind.SHIFT_PERMIT,
        requester=_ASKED_BY,
        grants=[Grant(name) for name in (wanted.action, *others)],
        danger_class=DangerClass.CHANGES,
        not_before_ms=to_ms(now - AUTHORISED_BEFORE),
        not_after_ms=to_ms(now + _DEMO_SHIFT),
        max_count=_DEMO_USES,
        max_per_device=_DEMO_USES_PER_DEVICE,
        targets=[wanted.device_id],
        reason="demo",
    )
    return documents.add_permit(approver.sign(document), approver.policy, now).id
