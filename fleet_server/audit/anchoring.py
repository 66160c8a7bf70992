"""Anchors of one tenant's chain as the doors ask for them."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session

from fleet_server.audit.anchors import Keys, Signed, open_anchor, opened_for
from fleet_server.audit.chain import GENESIS
from fleet_server.audit.checking import Finding
from fleet_server.audit.errors import AnchorRefused, AuditBroken
from fleet_server.audit.models import AuditAnchor, AuditHead
from fleet_server.audit.repository import AuditRepository
from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor
from fleet_server.kit.times import from_us
from protocol.errors import Malformed


class AnchorService:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id
        self._repository = AuditRepository(session, tenant_id)

    def head(self) -> AuditHead:
        return self._repository.head() or AuditHead(tenant_id=self._tenant_id, seq=0, row_hash=GENESIS)

    def signed(self, keys: Keys) -> list[Signed]:
        """Lowest place first. Raises ``AuditBroken`` when one of them cannot be trusted."""
        found = opened_for(self._tenant_id, [one.envelope for one in self._repository.anchors()], keys)
        if isinstance(found, Finding):
            raise AuditBroken(found.detail)
        return found

    def take(self, envelope: str, keys: Keys, actor: Actor, now: datetime) -> Signed:
        """Keeps what somebody else signed. Raises ``AnchorRefused``."""
        opened = open_anchor(envelope, keys)
        if isinstance(opened, Malformed):
            raise AnchorRefused(f"expected an anchor signed by the anchor key: {opened.detail}")
        said = opened.statement
        rows = self._repository.rows_after(said.seq - 1, 1)
        if said.tenant != self._tenant_id or not rows or (rows[0].seq, rows[0].row_hash) != (said.seq, said.row_hash):
            raise AnchorRefused(f"the anchor is about an entry {said.seq} of {said.tenant!r} that is not in this chain")
        known = {(one.kind, one.seq) for one in self._repository.anchors()}
        if (said.kind.value, said.seq) not in known:
            self._keep(opened)
            record(self._session, actor, "audit_anchored", data={"seq": said.seq, "kind": said.kind.value}, now=now)
        return opened

    def _keep(self, signed: Signed) -> None:
        said = signed.statement
        row = AuditAnchor(
            tenant_id=said.tenant,
            kind=said.kind.value,
            seq=said.seq,
            signed_at=from_us(said.signed_at_us),
            envelope=signed.envelope,
        )
        self._repository.add_anchor(row)
