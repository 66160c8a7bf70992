"""The policy: which keys may command, acknowledge and approve, signed by the root and checked on every device.

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
from protocol.signing import POLICY_TYPE, Approver, Policy, SigningKey, open_envelope, public_keys, sign


@dataclass(frozen=True, slots=True)
class InstallationKeys:
    """``approver`` is the demo's own, which signs class 1 by itself; None in a real installation."""

    root: SigningKey
    command_public: str  # the key itself is the signer's alone
    server: SigningKey
    approver: SigningKey | None


def load_or_make_keys(keys_dir: Path, command_public: str, *, demo: bool) -> InstallationKeys:
    root, server = (SigningKey.from_seed(read_or_make_seed(keys_dir / f"{name}.seed")) for name in ("root", "server"))
    approver = SigningKey.from_seed(read_or_make_seed(keys_dir / "approver.seed")) if demo else None
    return InstallationKeys(root, command_public, server, approver)


def write_policy(path: Path, keys: InstallationKeys, now: datetime) -> bytes:
    """The envelope as it lies in ``path`` and goes into every bundle."""
    present = _read(path, keys)
    wanted = Policy(
        version=present.version if present else 1,
        issued_at_ms=present.issued_at_ms if present else to_ms(now),
        command_keys=[keys.command_public],
        server_keys=[keys.server.public_hex],
        approvers=[Approver(DEMO_APPROVER, keys.approver.public_hex)] if keys.approver else [],
    )
    if wanted != present:
        if present is not None:
            wanted = msgspec.structs.replace(wanted, version=present.version + 1, issued_at_ms=to_ms(now))
        write_private(path, codec.to_json(sign(POLICY_TYPE, codec.to_json(wanted), [keys.root])))
    return path.read_bytes()


def _read(path: Path, keys: InstallationKeys) -> Policy | None:
    if not path.exists():
        return None
    opened = open_envelope(path.read_bytes(), POLICY_TYPE, public_keys([keys.root.public_hex]))
    policy = opened if isinstance(opened, Malformed) else codec.from_json(opened.payload, Policy)
    if isinstance(policy, Malformed):
        # Starting at version 1 again would be refused by every device.
        raise DataFolderUnusable(f"{path} is not a policy signed by this installation's root: {policy.detail}")
    return policy
