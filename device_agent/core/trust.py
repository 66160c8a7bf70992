"""Who may command this link, and whether an emergency stop is in force: taken from `down/trust`, kept for good.

What comes is believed by its signatures alone, so it needs no session: a policy by the root that the one before it
named, a stop or its lift by the policy's people. Kept are the policy in force and each one before it that named a new
root, so that a start proves the whole way from the root of the enrolment again.

Invariant: neither the policy's version nor an epoch of the stop ever goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from protocol import codec
from protocol.errors import Malformed
from protocol.policy import Root, next_root, open_policy
from protocol.records import SecurityEvent
from protocol.signing import POLICY_TYPE, Envelope, Policy
from protocol.stops import STOP_TYPE, StopState, open_stop

# The documents since the enrolment's root; the version alone; the stop's epochs.
CHAIN: Final = "policy_chain"
VERSION: Final = "policy_version"
STOP: Final = "stop"


@dataclass(frozen=True, slots=True)
class Held:
    """A policy, who signs the next one, and the documents that lead to it: the last one is the policy itself."""

    policy: Policy
    root: Root
    chain: tuple[str, ...]


def follow(documents: Sequence[str], root: Root) -> Held | Malformed:
    """What ``documents`` lead to, each signed by the root that the one before it named; as far as they hold."""
    held: Held | Malformed = Malformed("policy", "there is none")
    for document in documents:
        policy = open_policy(document.encode(), root)
        if isinstance(policy, Malformed):
            return policy if isinstance(held, Malformed) else held
        if isinstance(held, Held) and policy.version <= held.policy.version:
            return held
        chain = held.chain if isinstance(held, Held) else ()
        root = next_root(policy, root)
        held = Held(policy, root, (*chain, document))
    return held


@dataclass(slots=True)
class Trust:
    """``enrolled``: where the way begins. ``facts``: what is to be made durable with what `on_trust` answered."""

    enrolled: Root
    held: Held
    tenant: str
    stop: StopState = field(default_factory=StopState)

    @classmethod
    def kept(cls, enrolled: Root, held: Held, tenant: str, fact: Callable[[str], str | None]) -> Trust:
        stopped, _, lifted = (fact(STOP) or "0/0").partition("/")
        return cls(enrolled, held, tenant, StopState(int(stopped), int(lifted)))

    @classmethod
    def fixed(cls, policy: Policy, tenant: str) -> Trust:
        """A policy after which none comes: nobody is known who could sign the next."""
        nobody = Root(())
        return cls(nobody, Held(policy, nobody, ()), tenant)

    @property
    def policy(self) -> Policy:
        return self.held.policy

    @property
    def facts(self) -> dict[str, str]:
        return {
            CHAIN: chain_text(self.held.chain),
            VERSION: str(self.policy.version),
            STOP: f"{self.stop.stopped}/{self.stop.lifted}",
        }

    def on_trust(self, payload: bytes, content_type: str | None) -> SecurityEvent | Malformed | None:
        """What has changed, as an event, or why nothing has; None for what is in force already."""
        plain = codec.inflate(payload, content_type)
        if isinstance(plain, Malformed):
            return plain
        envelope = codec.from_json(plain, Envelope)
        if isinstance(envelope, Malformed):
            return envelope
        if envelope.payload_type == POLICY_TYPE:
            return self._on_policy(plain)
        if envelope.payload_type == STOP_TYPE:
            return self._on_stop(plain)
        return Malformed("payload_type", f"expected a policy or a stop, came {envelope.payload_type[:80]!r}")

    def _on_policy(self, document: bytes) -> SecurityEvent | Malformed | None:
        policy = open_policy(document, self.held.root)
        if isinstance(policy, Malformed):
            return policy
        before = self.policy
        if policy == before:
            return None
        if policy.version <= before.version:
            return Malformed("version", f"expected a version after {before.version}, came {policy.version}")
        whole = (*self.held.chain, document.decode())
        # The policy that was is kept only where the new one cannot be proved without it: it named the new one's root.
        shorter = follow((*whole[:-2], whole[-1]), self.enrolled)
        if isinstance(shorter, Held) and shorter.policy == policy:
            whole = shorter.chain
        self.held = Held(policy, next_root(policy, self.held.root), whole)
        words = f"version {policy.version} after {before.version}{_changes(before, policy)}"
        return SecurityEvent("policy.accepted", words)

    def _on_stop(self, document: bytes) -> SecurityEvent | Malformed | None:
        order = open_stop(document, self.policy, self.tenant)
        if isinstance(order, Malformed):
            return order
        if order.epoch == (self.stop.lifted if order.lifts else self.stop.stopped):
            return None
        moved = self.stop.after(order)
        if isinstance(moved, Malformed):
            return moved
        self.stop = moved
        code = "stop.in_force" if moved.is_stopped else "stop.lifted"
        return SecurityEvent(code, f"epoch {order.epoch}: {order.reason or 'no reason given'}")


def chain_text(chain: Sequence[str]) -> str:
    return msgspec.json.encode(list(chain)).decode()


def read_chain(text: str | None) -> list[str]:
    """Empty for what was not written here; then the enrolment's own policy is where it begins."""
    try:
        return msgspec.json.decode((text or "[]").encode(), type=list[str])
    except codec.UNREADABLE:
        return []


def _changes(before: Policy, after: Policy) -> str:
    """What a person wants to know of it: who may command and approve now."""
    words = [
        name
        for name, old, new in (
            ("command keys", before.command_keys, after.command_keys),
            ("server keys", before.server_keys, after.server_keys),
            ("approvers", before.approvers, after.approvers),
            ("root", before.roots, after.roots or before.roots),
            ("break-glass keys", before.break_glass_keys, after.break_glass_keys),
            ("root of software", before.artifact_roots, after.artifact_roots),
        )
        if old != new
    ]
    return f"; new: {', '.join(words)}" if words else ""
