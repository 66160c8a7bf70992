"""From the ledger to the broker: takes what is to be sent, signs it, and hands out messages to be published.

Taking and marking as sent are one transaction, with the rows locked, so exactly one process sends an execution; the
caller publishes after the commit. A message lost between commit and broker is sent again when nothing is heard.

Invariant: whatever is handed out was marked PUBLISHED in the same transaction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlmodel import Session

from fleet_server.approvals.documents import Documents
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.holding import hold_ours
from fleet_server.devices.repository import CommandTarget, DeviceRepository
from fleet_server.devices.service import DeviceService
from fleet_server.executions import happenings, ledger
from fleet_server.executions.ledger import Standing, may_send_again, overdue, sent
from fleet_server.executions.repository import Entry, ExecutionRepository
from fleet_server.freezes.errors import FreezeInForce
from fleet_server.freezes.gate import require_start
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.times import to_ms, utc_now
from fleet_server.signer.demo import DemoApprover
from fleet_server.signer.errors import PolicyRefused, SignerUnreachable, SigningRefused
from fleet_server.signer.messages import JournalPage, NewPolicy, Order, SignedRelease, SignRelease
from fleet_server.signer.service import Signs, check_clock
from fleet_server.tenants.repository import is_suspended
from fleet_server.timeline.service import newest_received_at
from fleet_server.timeline.writer import NewEvent
from protocol.codec import JSON
from protocol.commands import CANCEL, CONSENT, CONSENT_FOR, DangerClass
from protocol.identifiers import LinkId
from protocol.signing import Policy
from protocol.topics import Down, down

COMMAND_QOS = 1
# What waits for one link, and what is due at one moment, is taken in pieces of this size.
BATCH = 64
_CLOCK_CHECKED_EVERY = timedelta(seconds=30)
# A command this young may still be answered; an older one was lost with the connection it was sent on.
_ANSWERED_WITHIN = timedelta(seconds=3)
_CANCEL_WITHIN = timedelta(minutes=10)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish after the commit. ``event``, if any, is to be appended with the caller's own."""

    topic: str
    payload: bytes
    content_type: str
    event: NewEvent | None = None


@dataclass(slots=True)
class Taken:
    """What one sweep of the ledger made. The events of what is sent are in ``outgoing``."""

    outgoing: list[Outgoing] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)


class Dispatcher:
    def __init__(
        self,
        signer: Signs,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._signer = signer
        self._jitter = jitter
        self._clock_checked_at: datetime | None = None
        self._policy_given = ""

    def close(self) -> None:
        """Nothing is sent from here any more."""
        self._signer.close()

    def signatures(self, journal: str, after: int) -> JournalPage:
        """What the signer did since number ``after`` of that ``journal``; all of it when it is another by now."""
        page = self._signer.journal(after)
        return page if page.journal == journal else self._signer.journal(0)

    def give_policy(self, policy_file: Path, now: datetime) -> None:
        """The signer takes a policy that is newer than its own. Raises ``SignerUnreachable`` and ``PolicyRefused``."""
        document = policy_file.read_text("utf-8") if policy_file.exists() else ""
        if not document or document == self._policy_given:
            return
        try:
            self._signer.take_policy(NewPolicy(document), now)
        except PolicyRefused:
            # It may have slept through a change of roots: one step after the other.
            for kept in sorted((policy_file.parent / "policy-history").glob("*.json"), key=lambda one: int(one.stem)):
                with suppress(PolicyRefused):
                    self._signer.take_policy(NewPolicy(kept.read_text("utf-8")), now)
            self._signer.take_policy(NewPolicy(document), now)
        self._policy_given = document

    def sign_release(self, asked: SignRelease, now: datetime) -> SignedRelease:
        """As the signer does it: see `fleet_server.signer.releases`."""
        return self._signer.sign_release(asked, now)

    def signing_word(self) -> str:
        """For ``/readyz``: whether commands can be signed, as far as the signer's presence goes."""
        try:
            self._signer.standing(utc_now())
        except SignerUnreachable:
            return "not reachable"
        return "ok"

    @property
    def demo_approver(self) -> DemoApprover | None:
        return self._signer.demo_approver

    def may_change(self, tenant_id: str, now: datetime) -> bool:
        """Whether there is anybody who could allow this tenant a change, as far as is known."""
        try:
            return any(one.tenant in {"", tenant_id} for one in self._signer.policy(now).approvers)
        except SignerUnreachable:
            return True

    def send(
        self, session: Session, entry: Entry, target: CommandTarget, now: datetime, *, actor: str = ""
    ) -> tuple[Standing, Outgoing]:
        """Signs ``entry`` for its device; the caller stores the standing. Raises ``SigningRefused``, of which
        ``FreezeInForce`` is one.
        """
        require_start(session, entry.tenant_id, entry.danger_class, now, is_planned=entry.is_planned)
        self._check_clock(session, now)
        order = Order(
            device_id=entry.device_id,
            tenant_id=entry.tenant_id,
            execution_id=entry.id,
            action=entry.action,
            danger_class=entry.danger_class,
            params=entry.params,
            counter=_devices(session, entry.tenant_id).next_counter(entry.device_id),
            not_after_ms=to_ms(entry.terms.queued_until),
            nonce=target.nonce or None,
            skip_if_passing=entry.override_reason is None,
            override_holds=entry.override_holds,
            supersedes=entry.supersedes,
            requester=entry.actor,
            authorisation=self._authorisation(session, entry),
            target_proof=Documents(session, entry.tenant_id).target_proof(entry.permit_id, entry.device_id),
            consent=entry.asks_consent,
        )
        payload = self._signer.sign(order, now)
        standing = sent(entry.standing, now, jitter=self._jitter())
        event = happenings.moved(entry, standing, now, actor=actor)
        return standing, Outgoing(_topic(entry.link_id), payload, JSON, event)

    def policy(self, now: datetime) -> Policy:
        """Who may allow what, as the signer has it. Raises ``SignerUnreachable``."""
        return self._signer.policy(now)

    def _authorisation(self, session: Session, entry: Entry) -> str | None:
        if entry.danger_class is DangerClass.READS:
            return None
        return Documents(session, entry.tenant_id).envelope(entry.id, entry.permit_id)

    def cancel(self, session: Session, entry: Entry, now: datetime) -> Outgoing:
        """The order to end ``entry``; the device's answer is a state of ``entry`` itself. The caller holds it."""
        self._check_clock(session, now)
        order = Order(
            device_id=entry.device_id,
            tenant_id=entry.tenant_id,
            execution_id=uuid7(now),
            action=CANCEL,
            danger_class=DangerClass.READS,
            params={"execution": entry.id},
            counter=_devices(session, entry.tenant_id).next_counter(entry.device_id),
            not_after_ms=to_ms(now + _CANCEL_WITHIN),
        )
        return Outgoing(_topic(entry.link_id), self._signer.sign(order, now), JSON)

    def consent(self, session: Session, entry: Entry, code: str, now: datetime) -> Outgoing:
        """The merchant's digits; the device's answer is a state of ``entry`` itself. The caller holds it."""
        self._check_clock(session, now)
        order = Order(
            device_id=entry.device_id,
            tenant_id=entry.tenant_id,
            execution_id=uuid7(now),
            action=CONSENT,
            danger_class=DangerClass.READS,
            params={"execution": entry.id, "code": code},
            counter=_devices(session, entry.tenant_id).next_counter(entry.device_id),
            not_after_ms=to_ms(now + CONSENT_FOR),
        )
        return Outgoing(_topic(entry.link_id), self._signer.sign(order, now), JSON)

    def take_for_link(self, session: Session, tenant_id: str, link_id: str, now: datetime) -> list[Outgoing]:
        """What waits for a link that has just said hello, oldest first. Events are in the answer, not yet appended.
        The caller holds the link's devices.
        """
        if is_suspended(session, tenant_id):
            return []
        repository = ExecutionRepository(session, tenant_id)
        waiting = repository.waiting_on_link(link_id, now - _ANSWERED_WITHIN, BATCH)
        outgoing = self._send_all(session, repository, waiting, now).outgoing
        return outgoing + self._cancels(session, repository.to_cancel_on_link(link_id, BATCH), now)

    def take_overdue(
        self,
        session: Session,
        tenant_id: str,
        now: datetime,
        *,
        spare_started: bool = False,
        can_send: bool = True,
    ) -> Taken:
        """Everything of a tenant whose deadline has passed: sent again, or ended with the reason.

        ``can_send`` false: the broker is away, so what is to be sent waits for another look.

        ``spare_started``: right after a start, devices' words of the time before may still be on their way, so what
        they have begun is not ended yet.
        """
        repository = ExecutionRepository(session, tenant_id)
        found = repository.due(now, BATCH, spare_started=spare_started)
        if not found:
            return Taken()
        hold_ours(session, tenant_id, {device_id for _, device_id in found})
        due = repository.locked_if_due([execution_id for execution_id, _ in found], now, spare_started=spare_started)
        again = [entry for entry in due if may_send_again(entry.standing, entry.terms, now)]
        ended = [entry for entry in due if not may_send_again(entry.standing, entry.terms, now)]
        can_send = can_send and not is_suspended(session, tenant_id)
        taken = self._send_all(session, repository, again, now, can_send=can_send)
        unheard = _ended(repository, ended, taken, now)
        taken.outgoing += self._cancels(session, unheard, now) if can_send else []
        return taken

    def _cancels(self, session: Session, entries: Sequence[Entry], now: datetime) -> list[Outgoing]:
        """The wish to end them once more, for devices that can hear it."""
        outgoing: list[Outgoing] = []
        for entry in entries:
            target = _target(session, entry)
            if target is None or not target.is_link_online:
                continue
            try:
                outgoing.append(self.cancel(session, entry, now))
            except SigningRefused as error:
                # The next look asks again; what goes on at the device does not depend on it.
                _log.warning("a cancel was not signed", execution=entry.id, code=error.code, detail=str(error))
                break
        return outgoing

    def _send_all(
        self,
        session: Session,
        repository: ExecutionRepository,
        entries: list[Entry],
        now: datetime,
        *,
        can_send: bool = True,
    ) -> Taken:
        taken = Taken()
        for entry in entries:
            target = _target(session, entry)
            message = None
            if target is None:
                standing = ledger.orphaned(entry.standing, now)
            elif can_send and target.is_link_online:
                standing, message = self._try_to_send(session, entry, target, now)
                # Nobody waits for a silent signer once for each command.
                can_send = standing.code != SignerUnreachable.code
            else:
                standing = ledger.unsent(entry.standing, entry.terms, now, is_online=target.is_link_online)
            if message is not None:
                taken.outgoing.append(message)
            elif (standing.state, standing.code) != (entry.standing.state, entry.standing.code):
                taken.events.append(happenings.moved(entry, standing, now))
            repository.save([(entry, standing)])
        return taken

    def _try_to_send(
        self, session: Session, entry: Entry, target: CommandTarget, now: datetime
    ) -> tuple[Standing, Outgoing | None]:
        try:
            return self.send(session, entry, target, now)
        except FreezeInForce as error:
            return ledger.frozen(entry.standing, entry.terms, now, code=error.code, detail=str(error)), None
        except SigningRefused as error:
            # It stays queued until its end; who asked sees why it was not sent.
            _log.warning("command was not signed", execution=entry.id, code=error.code, detail=str(error))
            return ledger.unsigned(entry.standing, entry.terms, now, code=error.code, detail=str(error)), None

    def _check_clock(self, session: Session, now: datetime) -> None:
        checked_at = self._clock_checked_at
        if checked_at is None or not checked_at <= now < checked_at + _CLOCK_CHECKED_EVERY:
            check_clock(now, newest_received_at(session))
            self._clock_checked_at = now


def _ended(repository: ExecutionRepository, entries: list[Entry], taken: Taken, now: datetime) -> list[Entry]:
    """What passing their deadlines makes of them; those whose end is asked for and whose device has not answered."""
    unheard = []
    for entry in entries:
        standing = overdue(entry.standing, entry.terms, now)
        repository.save([(entry, standing)])
        if standing.state is not entry.standing.state:
            taken.events.append(happenings.moved(entry, standing, now))
        if standing.cancel_asked_at is not None and not standing.is_final:
            unheard.append(entry)
    return unheard


def _target(session: Session, entry: Entry) -> CommandTarget | None:
    """None for a device that was retired while something waited for it."""
    try:
        return _devices(session, entry.tenant_id).command_target(entry.device_id)
    except DeviceNotFound:
        return None


def _devices(session: Session, tenant_id: str) -> DeviceService:
    return DeviceService(DeviceRepository(session, tenant_id))


def _topic(link_id: str) -> str:
    return down(LinkId(link_id), Down.COMMAND)
