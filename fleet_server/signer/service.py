"""The online command key, and the demo's own approver key: an order becomes a signed command.

Rules: never a command of class 2 (its thresholds need two people and a TUF target); class 1 only with an authorisation
by an approver, which only the demo's own key makes here; no time more than an hour behind what was already recorded;
at most `MAX_CHANGES_PER_HOUR` commands of class 1 in an hour.

Invariant: the signed bytes are exactly the payload that is sent.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.times import to_ms
from fleet_server.settings import ServerSettings
from fleet_server.signer.errors import ClassNotSigned, ClockWentBack, SigningCapReached
from fleet_server.signer.keys import load_key
from protocol import codec
from protocol.authorisations import Authorisation, AuthorisationKind, Grant, sha256_of
from protocol.commands import AUTHORISATION_TYPE, COMMAND_TYPE, Command, DangerClass
from protocol.parameters import ParamValue
from protocol.signing import SigningKey, sign
from protocol.version import PROTOCOL_VERSION

# A demo or a site of one machine never needs more; a script gone wild does.
MAX_CHANGES_PER_HOUR = 600
_CLOCK_TOLERANCE = timedelta(hours=1)
# Terminals compare with their own trusted clock, which may run a little behind the server's.
_AUTHORISED_BEFORE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be signed. ``nonce``: of the link's last hello, for class 1. ``requester``: the account that asks."""

    device_id: str
    tenant_id: str
    execution_id: str
    action: str
    danger_class: DangerClass
    params: dict[str, ParamValue]
    counter: int
    not_after: datetime
    nonce: str | None = None
    skip_if_passing: bool = True
    requester: str = ""


class Signer:
    def __init__(self, command_key: SigningKey, approver_key: SigningKey | None) -> None:
        self._command_key = command_key
        self._approver_key = approver_key
        self._changes_at: deque[datetime] = deque(maxlen=MAX_CHANGES_PER_HOUR)
        self._lock = Lock()

    @property
    def may_change(self) -> bool:
        """Whether class 1 can be signed here at all."""
        return self._approver_key is not None

    def check_clock(self, now: datetime, newest_received_at: datetime | None) -> None:
        """Raises ``ClockWentBack`` when ``now`` is too far behind the newest moment in the database."""
        if newest_received_at is not None and now < newest_received_at - _CLOCK_TOLERANCE:
            behind_s = (newest_received_at - now).total_seconds()
            raise ClockWentBack(f"the server's clock is {behind_s:.0f} s behind its own records, limit 3600 s")

    def sign(self, order: Order, now: datetime) -> bytes:
        """The DSSE envelope of the command as JSON."""
        authorisation = self._authorisation(order, now)
        command = Command(
            version=PROTOCOL_VERSION,
            audience=order.device_id,
            tenant=order.tenant_id,
            execution=order.execution_id,
            action=order.action,
            danger_class=order.danger_class,
            params=order.params,
            issued_at_ms=to_ms(now),
            not_after_ms=to_ms(order.not_after),
            counter=order.counter,
            nonce=None if order.danger_class is DangerClass.READS else order.nonce,
            skip_if_passing=order.skip_if_passing,
            requester="" if order.danger_class is DangerClass.READS else order.requester,
            authorisation=authorisation,
            authorisation_sha256=None if authorisation is None else sha256_of(authorisation),
        )
        return codec.to_json(sign(COMMAND_TYPE, codec.to_json(command), [self._command_key]))

    def _authorisation(self, order: Order, now: datetime) -> str | None:
        if order.danger_class is DangerClass.READS:
            return None
        if order.danger_class is DangerClass.SOFTWARE:
            raise ClassNotSigned("class 2 needs two approvers and a signed target; nothing of class 2 is signed here")
        if self._approver_key is None:
            raise ClassNotSigned("class 1 needs the authorisation of an approver, and this server has none")
        self._count_change(now)
        document = Authorisation(
            id=uuid7(now),
            tenant=order.tenant_id,
            kind=AuthorisationKind.APPROVAL,
            requester=order.requester,
            grants=[Grant(order.action, order.params)],
            danger_class=order.danger_class,
            targets=[order.device_id],
            not_before_ms=to_ms(now - _AUTHORISED_BEFORE),
            not_after_ms=to_ms(order.not_after),
            max_count=1,
            execution=order.execution_id,
        )
        return codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), [self._approver_key])).decode()

    def _count_change(self, now: datetime) -> None:
        with self._lock:
            while self._changes_at and self._changes_at[0] < now - timedelta(hours=1):
                self._changes_at.popleft()
            if len(self._changes_at) >= MAX_CHANGES_PER_HOUR:
                raise SigningCapReached(f"{MAX_CHANGES_PER_HOUR} changing commands were signed in the last hour")
            self._changes_at.append(now)


def load_signer(settings: ServerSettings) -> Signer:
    """Reads the seeds that ``fleet-server init`` made. Raises ``KeyUnreadable`` naming the file."""
    approver = load_key(settings.keys_dir / "approver.seed") if settings.demo else None
    return Signer(load_key(settings.keys_dir / "command.seed"), approver)
