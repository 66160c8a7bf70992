"""How a policy changes: drafted where the server is, signed where the root's keys are, imported where the server is.

A draft is the policy as plain JSON, to be read by whoever signs it. A signed one is its DSSE envelope, to which further
root keys add their signatures. Nothing here needs a network, and signing needs nothing but two files.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm

from fleet_server.approvals.keys import read_key
from fleet_server.enrollment.bundles import refresh_bundles
from fleet_server.enrollment.policy import HISTORY, read_policy, root_after_history
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.errors import FleetError
from fleet_server.kit.times import from_ms, text, to_ms, utc_now
from fleet_server.settings import ServerSettings
from fleet_server.signer.keys import load_key
from protocol import codec
from protocol.authorisations import folded_name
from protocol.errors import Malformed
from protocol.policy import next_root, open_policy
from protocol.signing import POLICY_TYPE, Approver, Envelope, Policy, SigningKey, sign
from protocol.stops import open_stop

_KEYS_OF_A_PERSON = 2
_CLOCKS_DIFFER_MS = 60_000


class CeremonyRefused(FleetError):
    code: ClassVar[str] = "policy_refused"


@dataclass(frozen=True, slots=True)
class Changes:
    """``approvers``: by name, with public key and tenant; a name that is there already gets this key instead, of
    ``also_approvers`` beside the one it has. ``artifact_roots``: by tenant; an empty hash takes the tenant's away.
    ``also_approvers`` beside the one it has. ``clock``: what time it is, for terminals that were told a later one.
    """

    approvers: Sequence[Approver] = ()
    also_approvers: Sequence[Approver] = ()
    without_approvers: Sequence[str] = ()
    command_keys: Sequence[str] = ()
    without_keys: Sequence[str] = ()
    server_keys: Sequence[str] = ()
    break_glass_keys: Sequence[str] = ()
    roots: Sequence[str] = ()
    root_threshold: int | None = None
    lift_threshold: int | None = None
    merchant_consent: bool | None = field(default=None)
    artifact_roots: Mapping[str, str] = field(default_factory=dict)
    clock: datetime | None = None


def present_policy(settings: ServerSettings) -> Policy:
    return read_policy(settings.policy_file, _root_public(settings))


def drafted(present: Policy, changes: Changes, now: datetime) -> Policy:
    """The policy after ``present``. Raises ``CeremonyRefused`` for what would leave nobody in charge."""
    gone = {folded_name(name) for name in changes.without_approvers}
    known = {folded_name(one.name) for one in present.approvers}
    if gone - known:
        raise CeremonyRefused(f"the policy names no approver {', '.join(sorted(gone - known))}")
    coming = [folded_name(one.name) for one in changes.approvers]
    if len(set(coming)) != len(coming):
        raise CeremonyRefused("an approver is named twice")
    replaced = gone | set(coming)
    people = [one for one in present.approvers if folded_name(one.name) not in replaced]
    wanted = msgspec.structs.replace(
        present,
        version=present.version + 1,
        issued_at_ms=to_ms(now),
        approvers=[*people, *changes.approvers, *changes.also_approvers],
        command_keys=_keys(present.command_keys, changes.command_keys, changes.without_keys),
        server_keys=_keys(present.server_keys, changes.server_keys, changes.without_keys),
        break_glass_keys=_keys(present.break_glass_keys, changes.break_glass_keys, changes.without_keys),
        roots=list(changes.roots) or present.roots,
        root_threshold=changes.root_threshold or present.root_threshold,
        lift_threshold=changes.lift_threshold or present.lift_threshold,
        merchant_consent=present.merchant_consent if changes.merchant_consent is None else changes.merchant_consent,
        artifact_roots={
            tenant: sha256 for tenant, sha256 in {**present.artifact_roots, **changes.artifact_roots}.items() if sha256
        },
        clock_ms=present.clock_ms if changes.clock is None else to_ms(changes.clock),
    )
    return _sound(wanted)


def read_draft(path: Path) -> Policy:
    try:
        policy = codec.from_json(path.read_bytes(), Policy)
    except OSError as error:
        raise CeremonyRefused(f"{path} cannot be read: {error.strerror}") from error
    if isinstance(policy, Malformed):
        raise CeremonyRefused(f"{path} is no draft of a policy: {policy.detail}")
    return policy


def add_signature(draft: Policy, signed: Path, key: SigningKey) -> int:
    """Into ``signed``, beside those that are there; how many there are now."""
    payload = codec.to_json(draft)
    mine = sign(POLICY_TYPE, payload, [key])
    if signed.exists():
        before = codec.from_json(signed.read_bytes(), Envelope)
        if isinstance(before, Malformed) or _payload_of(before) != payload:
            raise CeremonyRefused(f"{signed} holds signatures of another draft")
        others = [one for one in before.signatures if one.keyid != key.id]
        mine = msgspec.structs.replace(mine, signatures=[*others, *mine.signatures])
    write_private(signed, codec.to_json(mine))
    return len(mine.signatures)


def _payload_of(envelope: Envelope) -> bytes | None:
    try:
        return base64.b64decode(envelope.payload)
    except ValueError:
        return None


def root_key(path: Path, passphrase: str | None) -> SigningKey:
    """A seed as ``init`` makes it, or an encrypted key as ``approver-key`` makes it."""
    if path.suffix == ".seed":
        return load_key(path)
    try:
        return read_key(path, passphrase or "")
    except UnsupportedAlgorithm as error:
        raise CeremonyRefused(f"{path} holds no Ed25519 key") from error


def import_policy(settings: ServerSettings, signed: Path) -> Policy:
    """From here on ingest gives it to terminals, and the scheduler to the signer. Raises ``CeremonyRefused``."""
    try:
        return take_policy(settings, signed.read_bytes(), str(signed))
    except OSError as error:
        raise CeremonyRefused(f"{signed} cannot be read: {error.strerror}") from error


def take_policy(settings: ServerSettings, document: bytes, named: str) -> Policy:
    """As `import_policy`; ``named``: what a refusal calls the document."""
    present = present_policy(settings)
    root = root_after_history(settings.policy_file, _root_public(settings))
    policy = open_policy(document, root)
    if isinstance(policy, Malformed):
        raise CeremonyRefused(f"{named} is not signed by enough keys of the root: {policy.detail}")
    if policy.version <= present.version:
        raise CeremonyRefused(f"expected a version after {present.version}, came {policy.version}")
    _sound(policy)
    if policy.clock_ms > to_ms(utc_now()) + _CLOCKS_DIFFER_MS:
        raise CeremonyRefused(
            f"{named} says that it is {text(from_ms(policy.clock_ms))}, by the clock here it is not yet"
        )
    if next_root(policy, root) != root:
        history = make_private_dir(settings.server_dir / HISTORY)
        write_private(history / f"{policy.version}.json", document)
    write_private(settings.policy_file, document)
    refresh_bundles(settings)
    return policy


def begin_with_another_root(settings: ServerSettings, key: SigningKey, now: datetime) -> Policy:
    """All keys of the root are lost. The present policy goes on under ``key``, one version later; links take it only
    with a bundle that somebody carries, for nobody is left whom they would believe over the network.
    """
    present = present_policy(settings)
    wanted = msgspec.structs.replace(
        present, version=present.version + 1, issued_at_ms=to_ms(now), roots=[], root_threshold=1
    )
    history = settings.server_dir / HISTORY
    if history.exists():
        history.rename(settings.server_dir / f"{HISTORY}.before-{wanted.version}")
    write_private(settings.keys_dir / "root.pub", key.public_hex + "\n")
    (settings.keys_dir / "root.seed").unlink(missing_ok=True)
    write_private(settings.policy_file, codec.to_json(sign(POLICY_TYPE, codec.to_json(wanted), [key])))
    refresh_bundles(settings)
    return wanted


def stops_to_sign_anew(settings: ServerSettings, policy: Policy) -> list[str]:
    """Tenants whose last stop or lift was signed by keys that ``policy`` does not name: links that slept through it
    would not believe it.
    """
    kept = sorted((settings.server_dir / "stops").glob("*.json"))
    return [path.stem for path in kept if isinstance(open_stop(path.read_bytes(), policy, path.stem), Malformed)]


def _sound(policy: Policy) -> Policy:
    named = Counter(folded_name(one.name) for one in policy.approvers)
    names = set(named)
    # Two while one key takes the other's place; people are counted, not keys.
    if max(named.values(), default=0) > _KEYS_OF_A_PERSON:
        raise CeremonyRefused(f"an approver has more than {_KEYS_OF_A_PERSON} keys")
    if policy.approvers and policy.lift_threshold > len(names):
        raise CeremonyRefused(f"{policy.lift_threshold} approvers lift a stop, and the policy names {len(names)}")
    checked = codec.from_json(codec.to_json(policy), Policy)
    if isinstance(checked, Malformed):
        raise CeremonyRefused(f"the policy would not be understood: {checked.detail}")
    return checked


def _keys(present: Sequence[str], more: Sequence[str], without: Sequence[str]) -> list[str]:
    return [key for key in dict.fromkeys([*present, *more]) if key not in set(without)]


def _root_public(settings: ServerSettings) -> str:
    try:
        return (settings.keys_dir / "root.pub").read_text("ascii").strip()
    except OSError as error:
        raise CeremonyRefused(f"{settings.keys_dir / 'root.pub'} cannot be read: {error.strerror}") from error
