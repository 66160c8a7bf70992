"""What people say to executions that wait for them: approvers who sign or refuse, and a merchant who consents.

Taking a signature, its audit entry and the move that it makes are one transaction. What is decided here moves only the
queue: signer and terminal judge the signatures again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlmodel import Session

from fleet_server.approvals.documents import Documents
from fleet_server.approvals.errors import ApprovalNotFound, SignatureRefused
from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor, ActorKind
from fleet_server.devices.holding import hold_one
from fleet_server.devices.service import DeviceService
from fleet_server.executions import happenings, ledger
from fleet_server.executions.dispatch import Dispatcher, Outgoing
from fleet_server.executions.errors import ExecutionNotFound, NoConsentAwaited
from fleet_server.executions.models import Execution
from fleet_server.executions.outbound import Outbound
from fleet_server.executions.permits import usable_permit
from fleet_server.executions.repository import Entry, ExecutionRepository
from fleet_server.executions.service import proposal_of
from fleet_server.freezes.errors import FreezeInForce
from fleet_server.signer.errors import SigningRefused
from fleet_server.timeline.writer import NewEvent
from protocol.authorisations import same_person
from protocol.executions import ExecutionState
from protocol.signing import Signature


@dataclass(frozen=True, slots=True)
class Desk:
    """What decisions are made with, in one transaction."""

    session: Session
    tenant_id: str
    devices: DeviceService
    dispatcher: Dispatcher
    outbound: Outbound


class Decisions:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._executions = ExecutionRepository(desk.session, desk.tenant_id)
        self._documents = Documents(desk.session, desk.tenant_id)

    def approve(self, actor: Actor, execution_id: str, signature: Signature, now: datetime) -> Execution:
        """One person's signature; with the last that is needed the execution is queued, and sent if it can be."""
        entry = self._awaiting(execution_id)
        policy = self._desk.dispatcher.policy(now)
        awaited, person = self._documents.sign(execution_id, signature, policy, now)
        if actor.kind is ActorKind.PERSON and not same_person(actor.name, person):
            raise SignatureRefused(f"this key is {person}'s, and {actor.name} is signed in")
        data = {"execution": entry.id, "action": entry.action, "key": signature.keyid}
        who = {"approver": person}
        record(self._desk.session, actor, "execution_approved", entry.device_id, data, personal=who, now=now)
        standing, outgoing = entry.standing, None
        if awaited.is_complete:
            standing, outgoing = self._queue(entry, now)
        self._executions.save([(entry, standing)])
        event = happenings.moved(entry, standing, now, actor=person, approved_by=[*awaited.people])
        self._announce(outgoing, event, now)
        return self._get(execution_id)

    def break_glass(self, actor: Actor, execution_id: str, envelope: str, now: datetime) -> Execution:
        """An emergency: the key that lies offline signed instead of an approver. Loud, here and on the terminal."""
        entry = self._awaiting(execution_id)
        policy = self._desk.dispatcher.policy(now)
        permit = self._documents.add_broken_glass(envelope, execution_id, policy, now)
        data = {"execution": entry.id, "action": entry.action, "permit": permit.id}
        why = {"reason": permit.reason}
        record(self._desk.session, actor, "break_glass_used", entry.device_id, data, personal=why, now=now)
        self._executions.set_permit(entry.id, permit.id)
        standing, outgoing = self._queue(replace(entry, permit_id=permit.id), now)
        self._executions.save([(entry, standing)])
        moved = happenings.moved(entry, standing, now, actor=actor.name)
        self._announce(outgoing, moved, now, happenings.broken_glass(entry, permit.reason, now, actor=actor.name))
        return self._get(execution_id)

    def allow_by_permit(self, execution_id: str, now: datetime) -> bool:
        """Whether a shift permit that came meanwhile takes the place of the approval that is awaited."""
        entry = self._awaiting(execution_id)
        permit = usable_permit(self._documents, self._executions, proposal_of(entry), now)
        if permit is None:
            return False
        self._documents.close(execution_id)
        self._executions.set_permit(entry.id, permit)
        standing, outgoing = self._queue(replace(entry, permit_id=permit), now)
        self._executions.save([(entry, standing)])
        self._announce(outgoing, happenings.moved(entry, standing, now), now)
        return True

    def refuse(self, actor: Actor, execution_id: str, reason: str, now: datetime) -> Execution:
        entry = self._awaiting(execution_id)
        self._documents.close(execution_id)
        standing = ledger.refused(entry.standing, now, detail=reason)
        self._executions.save([(entry, standing)])
        data = {"execution": entry.id, "action": entry.action}
        why = {"reason": reason}
        record(self._desk.session, actor, "execution_refused", entry.device_id, data, personal=why, now=now)
        self._announce(None, happenings.moved(entry, standing, now, actor=actor.name), now)
        return self._get(execution_id)

    def consent(self, actor: Actor, execution_id: str, code: str, now: datetime) -> Execution:
        """Brings the digits that the merchant read out to the terminal, which alone knows whether they are right."""
        entry = self._locked(execution_id)
        if entry.standing.state is not ExecutionState.AWAITING_CONSENT:
            raise NoConsentAwaited(f"execution {entry.id} is {entry.standing.state}, expected that it awaits consent")
        outgoing = self._desk.dispatcher.consent(self._desk.session, entry, code, now)
        # The digits are of no use to anybody who reads this, and still nobody else's.
        record(self._desk.session, actor, "consent_given", entry.device_id, {"execution": entry.id}, now=now)
        self._announce(outgoing, happenings.moved(entry, entry.standing, now, actor=actor.name), now)
        return self._get(execution_id)

    def _queue(self, entry: Entry, now: datetime) -> tuple[ledger.Standing, Outgoing | None]:
        entry = replace(entry, standing=ledger.approved(entry.standing, entry.terms))
        target = self._desk.devices.command_target(entry.device_id)
        if not target.is_link_online:
            return entry.standing, None
        if not self._desk.outbound.is_connected:
            return ledger.unsent(entry.standing, entry.terms, now, is_online=True), None
        try:
            return self._desk.dispatcher.send(self._desk.session, entry, target, now)
        except FreezeInForce as error:
            return ledger.frozen(entry.standing, entry.terms, now, code=error.code, detail=str(error)), None
        except SigningRefused as error:
            # The approvals stand; what was asked waits, and says why.
            return ledger.unsigned(entry.standing, entry.terms, now, code=error.code, detail=str(error)), None

    def _awaiting(self, execution_id: str) -> Entry:
        entry = self._locked(execution_id)
        if entry.standing.state is not ExecutionState.AWAITING_APPROVAL:
            raise ApprovalNotFound(execution_id)
        return entry

    def _locked(self, execution_id: str) -> Entry:
        device_id = self._executions.device_of(execution_id)
        if device_id is None:
            raise ExecutionNotFound(execution_id)
        hold_one(self._desk.session, self._desk.tenant_id, device_id)
        return self._executions.locked([execution_id])[execution_id]

    def _announce(self, outgoing: Outgoing | None, event: NewEvent, now: datetime, *more: NewEvent) -> None:
        sent = [] if outgoing is None else [outgoing]
        self._desk.outbound.announce(self._desk.session, self._desk.tenant_id, sent, [event, *more], now)

    def _get(self, execution_id: str) -> Execution:
        self._desk.session.expire_all()
        found = self._executions.get(execution_id)
        if found is None:
            raise ExecutionNotFound(execution_id)
        return found
