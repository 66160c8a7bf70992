"""Which policy follows which: each is signed by the root that the one before it named, and none is gone back to.

A root is a set of keys of which a threshold must sign. A policy that names a new root is signed by enough keys of the
old and of the new one, so that neither a thief of the old nor a slip in the new root's making can take a fleet away.

Invariant: what `open_policy` answers was signed by enough keys of the given root, and no key in it has two offices.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from protocol import codec
from protocol.errors import Malformed
from protocol.signing import POLICY_TYPE, Policy, open_envelope, public_keys


@dataclass(frozen=True, slots=True)
class Root:
    """``keys`` in hexadecimal; ``threshold`` of them sign."""

    keys: tuple[str, ...]
    threshold: int = 1

    @classmethod
    def of_enrolment(cls, public: str) -> Root:
        return cls((public,))


def open_policy(document: bytes, root: Root) -> Policy | Malformed:
    """The policy in its DSSE envelope, if ``root`` and the root that it names itself have signed it."""
    policy = _signed_by(document, root)
    if isinstance(policy, Malformed):
        return policy
    if policy.roots:
        if policy.root_threshold > len(set(policy.roots)):
            return Malformed(
                "policy", f"names {len(policy.roots)} root keys, of which {policy.root_threshold} must sign"
            )
        policy = _signed_by(document, next_root(policy, root))
        if isinstance(policy, Malformed):
            return Malformed(policy.code, f"the root that it names has not signed it: {policy.detail}")
    return _with_one_office_a_key(policy)


def next_root(policy: Policy, root: Root) -> Root:
    """Who signs the policy after this one."""
    return Root(tuple(policy.roots), policy.root_threshold) if policy.roots else root


def _signed_by(document: bytes, root: Root) -> Policy | Malformed:
    opened = open_envelope(document, POLICY_TYPE, public_keys(root.keys))
    if isinstance(opened, Malformed):
        return opened
    if len(opened.signers) < root.threshold:
        return Malformed("signature", f"{root.threshold} root keys must sign, {len(opened.signers)} did")
    return codec.from_json(opened.payload, Policy)


def _with_one_office_a_key(policy: Policy) -> Policy | Malformed:
    # A key online that were also an approver's would let a taken-over server approve what it asks for itself.
    offices = (
        set(policy.command_keys),
        set(policy.server_keys),
        {approver.public for approver in policy.approvers},
        set(policy.break_glass_keys),
        set(policy.roots),
    )
    twice = [key for key, count in Counter(key for office in offices for key in office).items() if count > 1]
    return Malformed("policy", f"key {twice[0][:16]}... has two offices") if twice else policy
