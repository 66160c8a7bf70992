"""The emergency stop: while one is in force a terminal runs nothing that changes it.

Stops and lifts are numbered by epochs. A stop opens an epoch; a lift closes it and all before it. Any command key and
any approver may stop, for stopping harms nothing; a lift takes as many different approvers as the policy names. Both
epochs only rise, so a stop or a lift that comes again, or late, changes nothing.

Invariant: a terminal is stopped exactly while the highest epoch it has seen stopped is above the highest it has seen
lifted.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from protocol import codec
from protocol.authorisations import folded_name
from protocol.errors import Malformed
from protocol.identifiers import WireMillis
from protocol.signing import Policy, key_ids, open_envelope, public_keys

STOP_TYPE = "application/vnd.tillmedic.stop+json"
# How far a stop may be ahead of the last lift: whoever holds the online key cannot use up the numbers there are.
MAX_EPOCHS_AHEAD = 1000


class StopOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``lifts``: ends epoch ``epoch`` and all before it, instead of opening it."""

    tenant: Annotated[str, Meta(min_length=1, max_length=64)]
    epoch: Annotated[int, Meta(ge=1, le=2**53)]
    issued_at_ms: WireMillis
    lifts: bool = False
    reason: Annotated[str, Meta(max_length=300)] = ""


class StopState(msgspec.Struct, frozen=True):
    """The highest epochs seen."""

    stopped: int = 0
    lifted: int = 0

    @property
    def is_stopped(self) -> bool:
        return self.stopped > self.lifted

    def after(self, order: StopOrder) -> StopState | Malformed:
        """``Malformed`` for what changes nothing: it came late, or again."""
        if order.lifts:
            if order.epoch <= self.lifted:
                return Malformed("epoch", f"lift of epoch {order.epoch}, {self.lifted} is lifted already")
            return StopState(self.stopped, order.epoch)
        if order.epoch <= max(self.stopped, self.lifted):
            return Malformed("epoch", f"stop of epoch {order.epoch}, {max(self.stopped, self.lifted)} was seen already")
        if order.epoch > self.lifted + MAX_EPOCHS_AHEAD:
            return Malformed("epoch", f"stop of epoch {order.epoch}, more than {MAX_EPOCHS_AHEAD} after {self.lifted}")
        return StopState(order.epoch, self.lifted)


def open_stop(document: bytes, policy: Policy, tenant: str) -> StopOrder | Malformed:
    """The order in its DSSE envelope, if enough of the policy's keys signed it for this tenant."""
    people = dict(zip(key_ids(one.public for one in policy.approvers), policy.approvers, strict=True))
    keys = public_keys([*policy.command_keys, *(one.public for one in policy.approvers)])
    opened = open_envelope(document, STOP_TYPE, keys)
    if isinstance(opened, Malformed):
        return opened
    order = codec.from_json(opened.payload, StopOrder)
    if isinstance(order, Malformed):
        return order
    if order.tenant != tenant:
        return Malformed("tenant", f"expected an order for {tenant}, came one for {order.tenant}")
    signed = [people[id_] for id_ in opened.signers if id_ in people]
    names = {folded_name(one.name) for one in signed if one.tenant in {"", tenant}}
    if order.lifts and len(names) < policy.lift_threshold:
        return Malformed("signature", f"{policy.lift_threshold} approvers must sign a lift, {len(names)} did")
    if not order.lifts and not names and not opened.signers & set(key_ids(policy.command_keys)):
        return Malformed("signature", "no key that may stop this tenant signed this")
    return order
