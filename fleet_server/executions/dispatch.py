"""From the ledger to the broker: takes what is to be sent, signs it, and hands out messages to be published.

Taking and marking as sent are one transaction, with the rows locked, so exactly one process sends an execution; the
caller publishes after the commit. A message lost between commit and broker is sent again when nothing is heard.

Invariant: whatever is handed out was marked PUBLISHED in the same transaction.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlmodel import Session

from fleet_server.approvals.documents import Documents
from fleet_server.devices.errors import DeviceNotFound
from fleet_server.devices.holding import hold
from fleet_server.devices.repository import CommandTarget, DeviceRepository
from fleet_server.devices.service import DeviceService
from fleet_server.executions import happenings, ledger
from fleet_server.executions.ledger import Standing, may_send_again, overdue, sent
from fleet_server.executions.repository import Entry, ExecutionRepository
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.times import to_ms, utc_now
from fleet_server.settings import ServerSettings
from fleet_server.signer.demo import DemoApprover
from fleet_server.signer.errors import PolicyRefused, SignerUnreachable, SigningRefused
from fleet_server.signer.messages import JournalPage, NewPolicy, Order
from fleet_server.signer.service import Signs, check_clock
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
        settings: ServerSettings,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._signer = signer
        self._tenant_id = settings.tenant
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

    def may_change(self, now: datetime) -> bool:
        """Whether there is anybody who could allow a change, as far as is known."""
        try:
            return bool(self._signer.standing(now).approvers)
        except SignerUnreachable:
            return True

    def send(
        self, session: Session, entry: Entry, target: CommandTarget, now: datetime, *, actor: str = ""
    ) -> tuple[Standing, Outgoing]:
        """Signs ``entry`` for its device; the caller stores the standing. Raises ``SigningRefused``."""
        self._check_clock(session, now)
        order = Order(
            device_id=entry.device_id,
            tenant_id=self._tenant_id,
            execution_id=entry.id,
            action=entry.action,
            danger_class=entry.danger_class,
            params=entry.params,
            counter=self._devices(session).next_counter(entry.device_id),
            not_after_ms=to_ms(entry.terms.queued_until),
            nonce=target.nonce or None,
            skip_if_passing=entry.override_reason is None,
            requester=entry.actor,
            authorisation=self._authorisation(session, entry),
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
        return Documents(session, self._tenant_id).envelope(entry.id, entry.permit_id)

    def cancel(self, session: Session, entry: Entry, now: datetime) -> Outgoing:
        """The order to end ``entry``; the device's answer is a state of ``entry`` itself. The caller holds it."""
        self._check_clock(session, now)
        order = Order(
            device_id=entry.device_id,
            tenant_id=self._tenant_id,
            execution_id=uuid7(now),
            action=CANCEL,
            danger_class=DangerClass.READS,
            params={"execution": entry.id},
            counter=self._devices(session).next_counter(entry.device_id),
            not_after_ms=to_ms(now + _CANCEL_WITHIN),
        )
        return Outgoing(_topic(entry.link_id), self._signer.sign(order, now), JSON)

    def consent(self, session: Session, entry: Entry, code: str, now: datetime) -> Outgoing:
        """The merchant's digits; the device's answer is a state of ``entry`` itself. The caller holds it."""
        self._check_clock(session, now)
        order = Order(
            device_id=entry.device_id,
            tenant_id=self._tenant_id,
            execution_id=uuid7(now),
            action=CONSENT,
            danger_class=DangerClass.READS,
            params={"execution": entry.id, "code": code},
            counter=self._devices(session).next_counter(entry.device_id),
            not_after_ms=to_ms(now + CONSENT_FOR),
        )
        return Outgoing(_topic(entry.link_id), self._signer.sign(order, now), JSON)

    def take_for_link(self, session: Session, link_id: str, now: datetime) -> list[Outgoing]:
        """What waits for a link that has just said hello, oldest first. Events are in the answer, not yet appended.
        The caller holds the link's devices.
        """
        repository = ExecutionRepository(session, self._tenant_id)
        waiting = repository.waiting_on_link(link_id, now - _ANSWERED_WITHIN, BATCH)
        outgoing = self._send_all(session, repository, waiting, now).outgoing
        to_cancel = repository.to_cancel_on_link(link_id, BATCH)
        return outgoing + [self.cancel(session, entry, now) for entry in to_cancel]

    def take_overdue(
        self, session: Session, now: datetime, *, spare_started: bool = False, can_send: bool = True
    ) -> Taken:
        """Everything whose deadline has passed: sent again, or ended with the reason.

        ``can_send`` false: the broker is away, so what is to be sent waits for another look.

        ``spare_started``: right after a start, devices' words of the time before may still be on their way, so what
        they have begun is not ended yet.
        """
        repository = ExecutionRepository(session, self._tenant_id)
        found = repository.due(now, BATCH, spare_started=spare_started)
        if not found:
            return Taken()
        hold(session, {device_id for _, device_id in found})
        due = repository.locked_if_due([execution_id for execution_id, _ in found], now, spare_started=spare_started)
        again = [entry for entry in due if may_send_again(entry.standing, entry.terms, now)]
        ended = [entry for entry in due if not may_send_again(entry.standing, entry.terms, now)]
        taken = self._send_all(session, repository, again, now, can_send=can_send)
        for entry in ended:
            standing = overdue(entry.standing, entry.terms, now)
            repository.save([(entry.id, standing)])
            if standing.state is not entry.standing.state:
                taken.events.append(happenings.moved(entry, standing, now))
        return taken

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
            target = self._target(session, entry.device_id)
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
            repository.save([(entry.id, standing)])
        return taken

    def _target(self, session: Session, device_id: str) -> CommandTarget | None:
        """None for a device that was retired while something waited for it."""
        try:
            return self._devices(session).command_target(device_id)
        except DeviceNotFound:
            return None

    def _try_to_send(
        self, session: Session, entry: Entry, target: CommandTarget, now: datetime
    ) -> tuple[Standing, Outgoing | None]:
        try:
            return self.send(session, entry, target, now)
        except SigningRefused as error:
            # It stays queued until its end; who asked sees why it was not sent.
            _log.warning("command was not signed", execution=entry.id, code=error.code, detail=str(error))
            return ledger.unsigned(entry.standing, entry.terms, now, code=error.code, detail=str(error)), None

    def _check_clock(self, session: Session, now: datetime) -> None:
        checked_at = self._clock_checked_at
        if checked_at is None or not checked_at <= now < checked_at + _CLOCK_CHECKED_EVERY:
            check_clock(now, newest_received_at(session))
            self._clock_checked_at = now

    def _devices(self, session: Session) -> DeviceService:
        return DeviceService(DeviceRepository(session, self._tenant_id))


def _topic(link_id: str) -> str:
    return down(LinkId(link_id), Down.COMMAND)
