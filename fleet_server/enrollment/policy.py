"""The policy: which keys may command, acknowledge and approve, signed by the root and checked on every device.

The root's key may lie elsewhere: then `fleet-server policy` drafts here, signs there, and imports here. Only what this
installation's own keys need is written without a ceremony, while the root's key is still here.

Invariant: the version rises with every change and never otherwise, because a device refuses to go back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from fleet_server.enrollment.errors import DataFolderUnusable
from fleet_server.enrollment.private_files import read_or_make_seed, write_private
from fleet_server.kit.times import to_ms
from fleet_server.signer.demo import NAME as DEMO_APPROVER
from protocol import codec
from protocol.errors import Malformed
from protocol.policy import Root, next_root, open_policy
from protocol.signing import POLICY_TYPE, Approver, Policy, SigningKey, sign

HISTORY = "policy-history"


@dataclass(frozen=True, slots=True)
class InstallationKeys:
    """``root`` is None where it was taken away. ``approver`` is the demo's own; None in a real installation."""

    root: SigningKey | None
    root_public: str
    command_public: str  # the key itself is the signer's alone
    server: SigningKey
    approver: SigningKey | None


def load_or_make_keys(keys_dir: Path, command_public: str, *, demo: bool) -> InstallationKeys:
    public, seed = keys_dir / "root.pub", keys_dir / "root.seed"
    # Another root would be obeyed by no terminal: one that was taken away is not made anew.
    root = None if public.exists() and not seed.exists() else SigningKey.from_seed(read_or_make_seed(seed))
    root_public = public.read_text("ascii").strip() if root is None else root.public_hex
    server = SigningKey.from_seed(read_or_make_seed(keys_dir / "server.seed"))
    approver = SigningKey.from_seed(read_or_make_seed(keys_dir / "approver.seed")) if demo else None
    return InstallationKeys(root, root_public, command_public, server, approver)


def write_policy(path: Path, keys: InstallationKeys, now: datetime) -> bytes:
    """The envelope as it lies in ``path`` and goes into every bundle."""
    present = read_policy(path, keys.root_public) if path.exists() else None
    wanted = _with_own_keys(present, keys, now)
    if wanted != present:
        root = Root.of_enrolment(keys.root_public) if present is None else root_after_history(path, keys.root_public)
        # One that was followed by another signs nothing any more.
        if keys.root is None or root != Root.of_enrolment(keys.root.public_hex):
            raise DataFolderUnusable(
                "the policy does not name this installation's keys, and the root's key is not here: "
                "draft one with 'fleet-server policy draft' and have it signed"
            )
        if present is not None:
            wanted = msgspec.structs.replace(wanted, version=present.version + 1, issued_at_ms=to_ms(now))
        write_private(path, codec.to_json(sign(POLICY_TYPE, codec.to_json(wanted), [keys.root])))
    return path.read_bytes()


def read_policy(path: Path, root_public: str) -> Policy:
    """The present one. Raises ``DataFolderUnusable`` unless the root, or one that followed it, signed it."""
    policy = open_policy(path.read_bytes(), root_after_history(path, root_public))
    if isinstance(policy, Malformed):
        # Starting at version 1 again would be refused by every device.
        raise DataFolderUnusable(f"{path} is not a policy signed by this installation's root: {policy.detail}")
    return policy


def root_after_history(path: Path, root_public: str) -> Root:
    """Who signs the policy in ``path``: the first root, or the last that a kept policy named."""
    root = Root.of_enrolment(root_public)
    for kept in sorted((path.parent / HISTORY).glob("*.json"), key=lambda one: int(one.stem)):
        policy = open_policy(kept.read_bytes(), root)
        if isinstance(policy, Malformed):
            raise DataFolderUnusable(f"{kept} is not signed by the root before it: {policy.detail}")
        root = next_root(policy, root)
    return root


def _with_own_keys(present: Policy | None, keys: InstallationKeys, now: datetime) -> Policy:
    """People, thresholds and further keys stay as a ceremony left them."""
    demo = [Approver(DEMO_APPROVER, keys.approver.public_hex)] if keys.approver else []
    if present is None:
        return Policy(1, to_ms(now), [keys.command_public], [keys.server.public_hex], demo)
    people = [one for one in present.approvers if one.name != DEMO_APPROVER]
    return msgspec.structs.replace(
        present,
        command_keys=_with(present.command_keys, keys.command_public),
        server_keys=_with(present.server_keys, keys.server.public_hex),
        approvers=[*people, *demo],
    )


def _with(present: list[str], key: str) -> list[str]:
    return present if key in present else [key, *present][:8]
