"""TUF's metadata as this installation makes and judges it: what python-tuf verifies, and what we ask beyond.

Beyond the specification: a root is of two keys at least, so are targets; no key that is online has an offline office;
snapshots are consistent; a rehearsal's root is nobody's. Files and keys are left to others.

Invariant: what `follow_roots` and `signed_targets` answer was signed by enough keys of the root before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from fleet_server.artifacts.errors import ArtifactsRefused
from protocol.artifacts import MAX_ROOTS, MAX_TARGETS_BYTES, REHEARSAL
from protocol.signing import SigningKey

ROOT_LIFE = timedelta(days=365)
TARGETS_LIFE = timedelta(days=365)
# Terminals sleep for days: a timestamp of one would freeze them.
SNAPSHOT_LIFE = timedelta(days=30)
TIMESTAMP_LIFE = timedelta(days=7)
OFFLINE = (Root.type, Targets.type)
ONLINE = (Snapshot.type, Timestamp.type)
LEAST_KEYS = 2
MAX_ROOT_BYTES = 16 * 1024

Kind = TypeVar("Kind", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True, slots=True)
class Offices:
    """Public keys in hexadecimal, by role, and how many of them sign."""

    root: Sequence[str]
    targets: Sequence[str]
    snapshot: str
    timestamp: str
    root_threshold: int = LEAST_KEYS
    targets_threshold: int = LEAST_KEYS


def public_key(public_hex: str) -> SSlibKey:
    try:
        return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ArtifactsRefused(f"expected a public key of 64 hexadecimal digits, came {public_hex[:80]!r}") from error


def signer_of(key: SigningKey) -> CryptoSigner:
    return CryptoSigner(key.private)


def read(document: bytes, kind: type[Kind], named: str) -> Metadata[Kind]:
    """Raises ``ArtifactsRefused`` for what is no metadata of ``kind``."""
    try:
        found = Metadata[Kind].from_bytes(document)
    except (DeserializationError, RecursionError) as error:
        raise ArtifactsRefused(f"{named}: expected TUF metadata, came something else") from error
    if not isinstance(found.signed, kind):
        raise ArtifactsRefused(f"{named}: expected {kind.type} metadata, came {found.signed.type}")
    return found


def new_root(version: int, offices: Offices, now: datetime, *, rehearsal: bool = False) -> Metadata[Root]:
    """Unsigned. Raises ``ArtifactsRefused`` when the offices are not sound."""
    keys = {
        Root.type: [public_key(one) for one in offices.root],
        Targets.type: [public_key(one) for one in offices.targets],
        Snapshot.type: [public_key(offices.snapshot)],
        Timestamp.type: [public_key(offices.timestamp)],
    }
    thresholds = {Root.type: offices.root_threshold, Targets.type: offices.targets_threshold}
    made = Root(
        version=version,
        expires=_whole(now + ROOT_LIFE),
        keys={key.keyid: key for of_role in keys.values() for key in of_role},
        roles={role: Role([key.keyid for key in of_role], thresholds.get(role, 1)) for role, of_role in keys.items()},
        consistent_snapshot=True,
        unrecognized_fields={REHEARSAL: True} if rehearsal else {},
    )
    check_offices(made)
    return Metadata(made)


def is_rehearsal(root: Root) -> bool:
    return REHEARSAL in root.unrecognized_fields


def check_offices(root: Root) -> None:
    """Raises ``ArtifactsRefused`` for a root that one person, or the server alone, could turn."""
    for role in OFFLINE:
        office = root.roles[role]
        if office.threshold < LEAST_KEYS or len(office.keyids) < office.threshold:
            raise ArtifactsRefused(
                f"{role}: expected at least {LEAST_KEYS} keys that must sign, came {office.threshold} of "
                f"{len(office.keyids)}"
            )
    online = {keyid for role in ONLINE for keyid in root.roles[role].keyids}
    offline = {keyid for role in OFFLINE for keyid in root.roles[role].keyids}
    if online & offline:
        raise ArtifactsRefused(f"key {min(online & offline)[:16]}... is online and has an offline office")
    if not root.consistent_snapshot:
        raise ArtifactsRefused("expected a root with consistent snapshots")


def sha256_of(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()


def follow_roots(documents: Sequence[bytes], pin: str, *, rehearsal: bool = False) -> Root:
    """The last of ``documents``, each signed by enough keys of the one before and by its own. ``pin``: the SHA-256 of
    the first. Raises ``ArtifactsRefused``.
    """
    if not 1 <= len(documents) <= MAX_ROOTS:
        raise ArtifactsRefused(f"expected 1 to {MAX_ROOTS} roots, came {len(documents)}")
    if sha256_of(documents[0]) != pin:
        raise ArtifactsRefused("the first root is not the one that the policy names")
    before: Root | None = None
    for number, document in enumerate(documents, start=1):
        if len(document) > MAX_ROOT_BYTES:
            raise ArtifactsRefused(f"root {number} is {len(document)} bytes, limit {MAX_ROOT_BYTES}")
        root = read(document, Root, f"root {number}")
        if before is not None and root.signed.version != before.version + 1:
            raise ArtifactsRefused(f"expected root {before.version + 1}, came {root.signed.version}")
        for judge in (before, root.signed):
            if judge is not None:
                _verify(judge, root, f"root {root.signed.version}")
        check_offices(root.signed)
        if is_rehearsal(root.signed) != rehearsal:
            raise ArtifactsRefused("a rehearsal's root is good for the rehearsal alone")
        before = root.signed
    return cast("Root", before)


def signed_targets(root: Root, document: bytes) -> Targets:
    """Raises ``ArtifactsRefused`` unless enough keys that ``root`` names signed it."""
    if len(document) > MAX_TARGETS_BYTES:
        raise ArtifactsRefused(f"targets are {len(document)} bytes, limit {MAX_TARGETS_BYTES}")
    targets = read(document, Targets, "targets")
    _verify(root, targets, f"targets {targets.signed.version}")
    return targets.signed


@dataclass(frozen=True, slots=True)
class Freshness:
    """Signed online. ``version``: of both."""

    version: int
    snapshot: bytes
    timestamp: bytes


def fresh(targets: Targets, document: bytes, keys: Mapping[str, SigningKey], version: int, now: datetime) -> Freshness:
    """``document``: the bytes of ``targets``. ``keys``: by role."""
    snapshot = Metadata(
        Snapshot(
            version=version,
            expires=_whole(now + SNAPSHOT_LIFE),
            meta={"targets.json": MetaFile(targets.version, len(document), {"sha256": sha256_of(document)})},
        )
    )
    snapshot.sign(signer_of(keys[Snapshot.type]))
    written = snapshot.to_bytes()
    about = MetaFile(version, len(written), {"sha256": sha256_of(written)})
    timestamp = Metadata(Timestamp(version=version, expires=_whole(now + TIMESTAMP_LIFE), snapshot_meta=about))
    timestamp.sign(signer_of(keys[Timestamp.type]))
    return Freshness(version, written, timestamp.to_bytes())


def online_key(root: Root, role: str, offered: Iterable[SigningKey]) -> SigningKey | None:
    """That of ``offered`` which ``root`` names for ``role``."""
    named = set(root.roles[role].keyids)
    return next((key for key in offered if public_key(key.public_hex).keyid in named), None)


def missing_signatures(judge: Root, role: str, document: Metadata[Any]) -> int:
    """How many more keys of ``judge`` have to sign."""
    result = judge.get_verification_result(role, document.signed_bytes, document.signatures)
    return max(result.threshold - len(result.signed), 0)


def _verify(judge: Root, document: Metadata[Any], named: str) -> None:
    try:
        judge.verify_delegate(document.signed.type, document.signed_bytes, document.signatures)
    except (RepositoryError, ValueError) as error:
        raise ArtifactsRefused(f"{named}: {error}") from error


def _whole(moment: datetime) -> datetime:
    """TUF's times have whole seconds."""
    return moment.replace(microsecond=0)
