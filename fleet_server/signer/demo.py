"""The demo's own approver, who allows whatever is asked: a demonstration has nobody else to ask."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from fleet_server.kit.times import to_ms
from fleet_server.signer.messages import MAX_JOURNAL_PAGE, JournalPage, NewPolicy, Order, Resume, Standing, Stop
from fleet_server.signer.service import Signs
from protocol import codec
from protocol.authorisations import Authorisation, AuthorisationKind, Grant
from protocol.commands import AUTHORISATION_TYPE, DangerClass
from protocol.signing import SigningKey, sign

# Terminals compare with their own trusted clock, which may run a little behind the server's.
AUTHORISED_BEFORE = timedelta(minutes=5)


class WithDemoApprover:
    def __init__(self, signer: Signs, key: SigningKey) -> None:
        self._signer = signer
        self._key = key

    def sign(self, order: Order, now: datetime) -> bytes:
        if order.danger_class is DangerClass.CHANGES and order.authorisation is None:
            order = replace(order, authorisation=self._approval(order, now))
        return self._signer.sign(order, now)

    def standing(self, now: datetime) -> Standing:
        return self._signer.standing(now)

    def stop(self, asked: Stop, now: datetime) -> None:
        self._signer.stop(asked, now)

    def resume(self, asked: Resume, now: datetime) -> None:
        self._signer.resume(asked, now)

    def take_policy(self, asked: NewPolicy, now: datetime) -> None:
        self._signer.take_policy(asked, now)

    def journal(self, after: int, limit: int = MAX_JOURNAL_PAGE) -> JournalPage:
        return self._signer.journal(after, limit)

    def close(self) -> None:
        self._signer.close()

    def _approval(self, order: Order, now: datetime) -> str:
        document = Authorisation(
            id=order.execution_id,
            tenant=order.tenant_id,
            kind=AuthorisationKind.APPROVAL,
            requester=order.requester,
            grants=[Grant(order.action, order.params)],
            danger_class=order.danger_class,
            targets=[order.device_id],
            not_before_ms=to_ms(now - AUTHORISED_BEFORE),
            not_after_ms=order.not_after_ms,
            max_count=1,
            execution=order.execution_id,
        )
        return codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), [self._key])).decode()
