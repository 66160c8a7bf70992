"""Asking devices for checks, tests and fixes, and reading what became of it.

What may be asked, of which kind and class and with which parameters, is what the device declared; no action is known
here by name. Asking, its first event and its audit entry are one transaction; the command leaves after the commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlmodel import Session

from fleet_server.approvals.documents import Documents, Proposal, approvers_beside
from fleet_server.audit.service import record
from fleet_server.auth.errors import RoleTooLow
from fleet_server.auth.roles import Actor, ActorKind, Permission
from fleet_server.devices.holding import hold_one, hold_ours
from fleet_server.devices.repository import CommandTarget
from fleet_server.devices.service import DeviceService
from fleet_server.executions import happenings, ledger
from fleet_server.executions.dispatch import BATCH, Dispatcher, Outgoing
from fleet_server.executions.errors import (
    ActionNotDeclared,
    CapabilitiesUnknown,
    ClassNotOffered,
    ExecutionFinished,
    ExecutionNotFound,
    IdempotencyKeyReused,
    OverrideNotAllowed,
    ParamsInvalid,
)
from fleet_server.executions.models import Execution, IdempotencyKey
from fleet_server.executions.outbound import Outbound
from fleet_server.executions.permits import make_demo_permit, usable_permit
from fleet_server.executions.repository import Entry, ExecutionFilters, ExecutionRepository, standing_columns
from fleet_server.freezes.gate import require_start
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.kit.times import from_us, to_us
from fleet_server.signer.errors import SignerUnreachable
from fleet_server.timeline.writer import NewEvent
from protocol.authorisations import APPROVERS_NEEDED, Artifact
from protocol.capabilities import Action
from protocol.commands import QUEUE_EXPIRY, ActionKind, DangerClass
from protocol.executions import ExecutionState
from protocol.parameters import ParamValue, check_params
from protocol.redaction import is_card_value, scrub

# How long a test or fix waits for whoever may allow it.
APPROVED_WITHIN = timedelta(hours=24)
# What an approver reads before the reason of somebody who overrides what it would wait for.
_WITHOUT_WAITING = "不等安全时机 / without waiting for a safe moment: "
IDEMPOTENCY_KEPT = timedelta(hours=24)
NEEDED = {
    ActionKind.CHECK: Permission.REQUEST_CHECK,
    ActionKind.TEST: Permission.REQUEST_TEST,
    ActionKind.FIX: Permission.REQUEST_FIX,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks of a device. ``override_reason``: why a fix is to run although its pre-check passes, and, with
    ``override_holds``, without waiting for a safe moment. ``supersedes``: the execution whose place it takes.
    """

    device_id: str
    action: str
    params: dict[str, ParamValue]
    override_reason: str | None = None
    consent: bool = False  # the merchant is to be asked, instead of an approver
    artifact: Artifact | None = None  # of class 2: what approvers sign for
    override_holds: bool = False
    supersedes: str | None = None
    is_planned: bool = False  # part of something for many devices, which starts in no freeze

    @property
    def sha256(self) -> str:
        document: list[object] = [self.device_id, self.action, self.params, self.override_reason]
        if self.consent:
            document.append("consent")
        if self.artifact is not None:
            document.append(self.artifact)
        if self.override_holds:
            document.append("override_holds")
        if self.supersedes is not None:
            document.append(f"supersedes {self.supersedes}")
        document += ["planned"] if self.is_planned else []
        return hashlib.sha256(msgspec.json.encode(document, order="deterministic")).hexdigest()


class ExecutionService:
    def __init__(
        self,
        session: Session,
        tenant_id: str,
        devices: DeviceService,
        dispatcher: Dispatcher,
        outbound: Outbound,
    ) -> None:
        self._session = session
        self._tenant_id = tenant_id
        self._executions = ExecutionRepository(session, tenant_id)
        self._devices = devices
        self._dispatcher = dispatcher
        self._outbound = outbound

    def get(self, execution_id: str) -> Execution:
        found = self._executions.get(execution_id)
        if found is None:
            raise ExecutionNotFound(execution_id)
        return found

    def list(self, filters: ExecutionFilters, cursor: str | None, limit: int) -> Page[Execution]:
        """Newest first."""
        rows = self._executions.newest_first(filters, None if cursor is None else _after(cursor), limit + 1)
        items = rows[:limit]
        last = items[-1] if len(rows) > limit else None
        return Page(items, None if last is None else encode_cursor(to_us(last.created_at), last.id))

    def request(self, actor: Actor, wish: Wish, now: datetime, idempotency_key: str | None = None) -> Execution:
        """Queued, and sent at once when the device's link is online. The same key again answers the same execution."""
        wish = _without_card_data(wish)
        if idempotency_key is not None:
            known = self._known_by_key(actor, wish, now, idempotency_key)
            if known is not None:
                return known
        # A hello that comes at this moment either finds what is asked here, or is seen here as committed.
        hold_one(self._session, self._tenant_id, wish.device_id)
        target = self._devices.command_target(wish.device_id)
        entry, declared = self._entry(actor, wish, target, now)
        replaced = self._replaced(actor, entry, now)
        entry = self._permitted(entry, wish, target, now)
        standing, outgoing = entry.standing, None
        if standing.state is ExecutionState.AWAITING_APPROVAL:
            pass
        elif target.is_link_online and self._outbound.is_connected:
            standing, outgoing = self._send(entry, target, actor, now)
        elif target.is_link_online:
            standing = ledger.unsent(standing, entry.terms, now, is_online=True)
        event = happenings.moved(entry, standing, now, actor=actor.name)
        values = _row(entry, standing, declared, actor, now)
        self._executions.add(values)
        if idempotency_key is not None:
            self._remember(actor, wish, now, idempotency_key, entry.id)
        self._note_request(actor, entry, now)
        self._announce([] if outgoing is None else [outgoing], [*replaced, event], now)
        return Execution(**values, tenant_id=self._tenant_id)

    def _replaced(self, actor: Actor, entry: Entry, now: datetime) -> Sequence[NewEvent]:
        """Ends what the new one takes the place of, or leaves it to the device, which is told by the new one."""
        if entry.supersedes is None:
            return []
        old = self._executions.locked([entry.supersedes]).get(entry.supersedes)
        if old is None or old.device_id != entry.device_id:
            raise ExecutionNotFound(entry.supersedes)
        _require_allowed(actor, old.kind)
        if old.standing.is_final:
            raise ExecutionFinished(f"execution {old.id} has already ended as {old.standing.state}")
        standing = ledger.superseded(old.standing, now)
        if not standing.is_final:
            standing = replace(standing, cancel_asked_at=now)
        self._executions.save([(old, standing)])
        self._executions.note_cancel(old.id, actor.name, now)
        Documents(self._session, self._tenant_id).close(old.id)
        return [happenings.moved(old, standing, now, actor=actor.name, superseded_by=entry.id)]

    def _note_request(self, actor: Actor, entry: Entry, now: datetime) -> None:
        data: dict[str, Any] = {
            "execution": entry.id,
            "action": entry.action,
            "params": entry.params,
            "overrides": entry.override_reason is not None,
            "overrides_holds": entry.override_holds,
        }
        if entry.supersedes is not None:
            data["supersedes"] = entry.supersedes
        # What somebody typed may name people: it can be erased.
        why = {} if entry.override_reason is None else {"override": entry.override_reason}
        record(self._session, actor, "execution_requested", entry.device_id, data, personal=why, now=now)

    def _permitted(self, entry: Entry, wish: Wish, target: CommandTarget, now: datetime) -> Entry:
        """By a shift permit, by the merchant who is to be asked, or by approvers who are waited for."""
        if entry.danger_class is DangerClass.READS:
            return entry
        if wish.consent and entry.danger_class is DangerClass.CHANGES:
            return replace(entry, asks_consent=True)
        documents = Documents(self._session, self._tenant_id)
        wanted = replace(proposal_of(entry), artifact=wish.artifact)
        permit = usable_permit(documents, self._executions, wanted, now)
        demo = self._dispatcher.demo_approver
        if permit is None and demo is not None and entry.danger_class is DangerClass.CHANGES:
            actions = self._devices.declared_actions(target)
            names = [one.name for one in actions if one.danger_class is DangerClass.CHANGES]
            permit = make_demo_permit(documents, demo, wanted, names, now)
        if permit is not None:
            return replace(entry, permit_id=permit)
        # People have to be found first.
        until = max(entry.terms.queued_until, now + APPROVED_WITHIN)
        terms = replace(entry.terms, queued_until=until)
        documents.propose(replace(wanted, until=until), now)
        return replace(entry, terms=terms, standing=ledger.awaiting(terms))

    def _send(
        self, entry: Entry, target: CommandTarget, actor: Actor, now: datetime
    ) -> tuple[ledger.Standing, Outgoing | None]:
        try:
            return self._dispatcher.send(self._session, entry, target, now, actor=actor.name)
        except SignerUnreachable as error:
            # It will be back; whoever asked is told that it waits, and why.
            return ledger.unsigned(entry.standing, entry.terms, now, code=error.code, detail=str(error)), None

    def cancel(self, actor: Actor, execution_id: str, now: datetime) -> Execution:
        """Ended at once while no copy of it has left; else the device is asked, and its answer decides."""
        entry = self._locked(execution_id)
        _require_allowed(actor, entry.kind)
        if entry.standing.is_final:
            raise ExecutionFinished(f"execution {entry.id} has already ended as {entry.standing.state}")
        outgoing: list[Outgoing] = []
        standing = ledger.cancelled(entry.standing, now)
        if standing.is_final:
            Documents(self._session, self._tenant_id).close(entry.id)
        else:
            outgoing = [self._dispatcher.cancel(self._session, entry, now)]
        self._executions.save([(entry, standing)])
        self._executions.note_cancel(entry.id, actor.name, now)
        record(self._session, actor, "execution_cancelled", entry.device_id, {"execution": entry.id}, now=now)
        event = happenings.moved(entry, standing, now, actor=actor.name, cancel_asked=True)
        self._announce(outgoing, [event], now)
        return self.get(execution_id)

    def cancel_waiting(self, actor: Actor, code: str, now: datetime) -> int:
        """A piece of all that has not been sent ends; what was sent and not answered ends with its deadline."""
        found = self._executions.waiting(BATCH)
        hold_ours(self._session, self._tenant_id, {device_id for _, device_id in found})
        entries = self._executions.locked([execution_id for execution_id, _ in found]).values()
        events = []
        for entry in entries:
            standing = ledger.cancelled(entry.standing, now, code=code)
            self._executions.save([(entry, standing)])
            Documents(self._session, self._tenant_id).close(entry.id)
            events.append(happenings.moved(entry, standing, now, actor=actor.name))
        self._announce([], events, now)
        return len(found)

    def _locked(self, execution_id: str) -> Entry:
        device_id = self._executions.device_of(execution_id)
        if device_id is None:
            raise ExecutionNotFound(execution_id)
        hold_one(self._session, self._tenant_id, device_id)
        return self._executions.locked([execution_id])[execution_id]

    def permit_uses(self, permit_ids: Sequence[str]) -> dict[str, int]:
        """How many executions were asked on each shift permit."""
        return self._executions.permit_uses(permit_ids)

    def _entry(self, actor: Actor, wish: Wish, target: CommandTarget, now: datetime) -> tuple[Entry, Action]:
        if target.capability_digest is None:
            raise CapabilitiesUnknown(f"device {target.device_id} has not yet said what it can do")
        declared = self._devices.declared_action(target, wish.action)
        if declared is None:
            raise ActionNotDeclared(wish.action)
        _require_allowed(actor, declared.kind)
        self._require_offered(actor, declared, wish, now)
        require_start(self._session, self._tenant_id, declared.danger_class, now, is_planned=wish.is_planned)
        if wish.override_holds and (actor.kind is not ActorKind.PERSON or wish.override_reason is None):
            raise OverrideNotAllowed("only a person who is signed in, with a reason, may do without a safe moment")
        params = check_params(declared.params, wish.params)
        if isinstance(params, list):
            raise ParamsInvalid("; ".join(str(error) for error in params)[:500])
        terms = ledger.Terms(declared.kind, declared.timeout_s, declared.soak_s, now + QUEUE_EXPIRY[declared.kind])
        entry = Entry(
            id=uuid7(now),
            tenant_id=self._tenant_id,
            device_id=target.device_id,
            link_id=target.link_id,
            action=declared.name,
            kind=declared.kind,
            danger_class=declared.danger_class,
            params=params,
            actor=actor.name,
            override_reason=wish.override_reason,
            override_holds=wish.override_holds,
            supersedes=wish.supersedes,
            is_planned=wish.is_planned,
            terms=terms,
            standing=ledger.queued(terms),
        )
        return entry, declared

    def _require_offered(self, actor: Actor, declared: Action, wish: Wish, now: datetime) -> None:
        is_software = declared.danger_class is DangerClass.SOFTWARE
        if is_software and wish.artifact is None:
            raise ParamsInvalid("class 2: expected the artifact that people are to sign for, came none")
        if wish.artifact is not None and not is_software:
            raise ParamsInvalid(f"class {int(declared.danger_class)}: an artifact belongs to class 2, and only there")
        if declared.danger_class is DangerClass.SOFTWARE:
            self._require_two_others(actor, now)
        needs_approver = declared.danger_class is DangerClass.CHANGES and not wish.consent
        if needs_approver and not self._dispatcher.may_change(self._tenant_id, now):
            raise ClassNotOffered("class 1 needs the authorisation of an approver, and the policy names none")

    def _require_two_others(self, actor: Actor, now: datetime) -> None:
        try:
            policy = self._dispatcher.policy(now)
        except SignerUnreachable:
            # It judges again before anything is sent.
            return
        needed = APPROVERS_NEEDED[DangerClass.SOFTWARE]
        found = approvers_beside(policy, self._tenant_id, actor.name)
        if found < needed:
            words = f"class 2 needs {needed} approvers beside who asks, and the policy names {found}"
            raise ClassNotOffered(words)

    def _known_by_key(self, actor: Actor, wish: Wish, now: datetime, key: str) -> Execution | None:
        known = self._executions.idempotency(actor.id, key)
        if known is None or known.expires_at <= now:
            return None
        if known.request_sha256 != wish.sha256:
            raise IdempotencyKeyReused("this Idempotency-Key was used for another request in the last 24 hours")
        return self.get(known.execution_id)

    def _remember(self, actor: Actor, wish: Wish, now: datetime, key: str, execution_id: str) -> None:
        row = IdempotencyKey(
            caller=actor.id,
            key=key,
            tenant_id=self._tenant_id,
            request_sha256=wish.sha256,
            execution_id=execution_id,
            expires_at=now + IDEMPOTENCY_KEPT,
        )
        self._executions.remember(row, now)

    def _announce(self, outgoing: Sequence[Outgoing], events: Sequence[NewEvent], now: datetime) -> None:
        self._outbound.announce(self._session, self._tenant_id, outgoing, events, now)


def _without_card_data(wish: Wish) -> Wish:
    """A reason is kept masked. A parameter is refused: masked, it would ask for something else."""
    for name, value in wish.params.items():
        if scrub(value).hits if isinstance(value, str) else is_card_value(value):
            raise ParamsInvalid(f"{scrub(name).text}: expected no card data, came some")
    if wish.override_reason is None:
        return wish
    return replace(wish, override_reason=scrub(wish.override_reason).text[:500])


def _require_allowed(actor: Actor, kind: ActionKind) -> None:
    """Ending a run takes what asking for it takes."""
    if not actor.may(NEEDED[kind]):
        raise RoleTooLow(NEEDED[kind], actor)


def proposal_of(entry: Entry) -> Proposal:
    return Proposal(
        execution_id=entry.id,
        device_id=entry.device_id,
        action=entry.action,
        params=entry.params,
        danger_class=entry.danger_class,
        requester=entry.actor,
        reason=f"{_WITHOUT_WAITING if entry.override_holds else ''}{entry.override_reason or ''}",
        until=entry.terms.queued_until,
    )


def _row(entry: Entry, standing: ledger.Standing, declared: Action, actor: Actor, now: datetime) -> dict[str, Any]:
    return {
        "id": entry.id,
        "device_id": entry.device_id,
        "link_id": entry.link_id,
        "action": entry.action,
        "kind": entry.kind.value,
        "danger_class": int(entry.danger_class),
        "params": entry.params,
        "declared": msgspec.to_builtins(declared),
        "actor": actor.name[:120],
        "override_reason": entry.override_reason,
        "override_holds": entry.override_holds,
        "supersedes": entry.supersedes,
        "is_planned": entry.is_planned,
        "permit_id": entry.permit_id,
        "asks_consent": entry.asks_consent,
        "cancel_asked_by": "",
        "created_at": now,
        "queued_until": entry.terms.queued_until,
        **standing_columns(standing, entry.kind),
    }


def _after(cursor: str) -> tuple[datetime, str]:
    created_us, execution_id = decode_cursor(cursor, 2)
    if not isinstance(created_us, int) or not isinstance(execution_id, str):
        raise CursorInvalid("cursor is not one of the list of executions")
    return from_us(created_us), execution_id
