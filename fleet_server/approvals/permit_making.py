"""What an approver signs at the command line beside approvals: shift permits, and the lift of an emergency stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from fleet_server.approvals.documents import AUTHORISED_BEFORE
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.times import to_ms, utc_now
from protocol import codec, merkle
from protocol.authorisations import LONGEST, Authorisation, AuthorisationKind, Grant
from protocol.commands import AUTHORISATION_TYPE, DangerClass
from protocol.signing import SigningKey, sign
from protocol.stops import STOP_TYPE, StopOrder


@dataclass(frozen=True, slots=True)
class PermitWish:
    tenant: str
    asked_by: str
    actions: Sequence[str]
    devices: Sequence[str]
    hours: float
    count: int
    per_device: int
    reason: str = ""
    grants: Sequence[Grant] = ()  # instead of ``actions``, where parameters are named too


def signed_permit(wish: PermitWish, key: SigningKey) -> str:
    """For several devices the root of their list is signed, so that no terminal is told of the others."""
    now = utc_now()
    listed = [one.encode() for one in wish.devices] if len(wish.devices) > 1 else []
    # A whole day counts from its beginning, which lies a little back.
    until = min(now + timedelta(hours=wish.hours), now - AUTHORISED_BEFORE + timedelta(hours=24))
    document = Authorisation(
        id=uuid7(now),
        tenant=wish.tenant,
        kind=AuthorisationKind.SHIFT_PERMIT,
        requester=wish.asked_by,
        grants=list(wish.grants) or [Grant(name) for name in wish.actions],
        danger_class=DangerClass.CHANGES,
        not_before_ms=to_ms(now - AUTHORISED_BEFORE),
        not_after_ms=to_ms(until),
        max_count=wish.count,
        max_per_device=wish.per_device,
        targets=[] if listed else list(wish.devices),
        target_root=merkle.root(listed).hex() if listed else None,
        target_count=len(listed),
        reason=wish.reason,
    )
    return codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), [key])).decode()


def signed_break_glass(asked: Authorisation, reason: str, key: SigningKey) -> str:
    """For exactly what ``asked`` is about, from now on for as long as break-glass may hold."""
    now = utc_now()
    document = msgspec.structs.replace(
        asked,
        id=uuid7(now),
        kind=AuthorisationKind.BREAK_GLASS,
        not_before_ms=to_ms(now - AUTHORISED_BEFORE),
        not_after_ms=to_ms(now - AUTHORISED_BEFORE + LONGEST[AuthorisationKind.BREAK_GLASS]),
        reason=reason,
    )
    return codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), [key])).decode()


def signed_lift(tenant: str, epoch: int, keys: Sequence[SigningKey]) -> str:
    order = StopOrder(tenant, epoch, to_ms(utc_now()), lifts=True)
    return codec.to_json(sign(STOP_TYPE, codec.to_json(order), keys)).decode()
