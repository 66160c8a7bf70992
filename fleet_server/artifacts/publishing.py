"""From the folder of a ceremony to what devices are given, and how that stays fresh.

Invariant: nothing is published that a device would refuse: the whole way from the policy's hash is gone first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from tuf.api.metadata import Root, Targets, Timestamp

from fleet_server.artifacts import metadata
from fleet_server.artifacts.ceremony import Ceremony
from fleet_server.artifacts.errors import ArtifactsRefused
from fleet_server.artifacts.metadata import Freshness, follow_roots, signed_targets
from fleet_server.artifacts.store import Store
from fleet_server.errors import FleetError
from fleet_server.settings import ServerSettings
from fleet_server.signer.messages import SignedRelease, SignRelease
from protocol.artifacts import facts_of
from protocol.errors import Malformed

# A device that fetches finds a timestamp of which six days are left at least.
RENEW_AFTER = timedelta(days=1)
_log = structlog.get_logger(__name__)


class SignsReleases(Protocol):
    def sign_release(self, asked: SignRelease, now: datetime) -> SignedRelease: ...


@dataclass(frozen=True, slots=True)
class Published:
    root: int
    targets: int
    version: int
    files_taken: int
    files_gone: int


def publish(store: Store, ceremony: Ceremony, tenant: str, pin: str, signer: SignsReleases, now: datetime) -> Published:
    """Raises ``ArtifactsRefused``, or what the signer refuses with."""
    roots, document = ceremony.roots(), ceremony.targets_document()
    root = follow_roots(roots, pin)
    targets = signed_targets(root, document)
    _check(root, targets, store, now)
    taken = store.take_files(targets, ceremony.files)
    version = _freshen(store, tenant, roots, document, targets, signer, now)
    return Published(root.version, targets.version, version, taken, store.forget_files(targets))


def renew(settings: ServerSettings, tenant: str, signer: SignsReleases, now: datetime) -> bool:
    """Whether a snapshot and a timestamp were signed anew."""
    store = Store.of(settings, tenant)
    if not store.exists:
        return False
    path = store.metadata_file("timestamp.json")
    ends = metadata.read(path.read_bytes(), Timestamp, path.name).signed.expires
    document = store.targets_document()
    if document is None or now < ends - metadata.TIMESTAMP_LIFE + RENEW_AFTER:
        return False
    targets = metadata.read(document, Targets, "targets").signed
    _freshen(store, tenant, store.roots(), document, targets, signer, now)
    return True


def keep_fresh(settings: ServerSettings, tenant: str, signer: SignsReleases, now: datetime) -> None:
    """As `renew`; what is in the way is logged, for there is nobody here to tell it to."""
    try:
        if renew(settings, tenant, signer, now):
            _log.info("the repository of software is fresh again", tenant=tenant)
    except (FleetError, OSError) as error:
        _log.warning("the repository of software cannot be kept fresh", tenant=tenant, reason=str(error)[:300])


def _freshen(
    store: Store,
    tenant: str,
    roots: Sequence[bytes],
    document: bytes,
    targets: Targets,
    signer: SignsReleases,
    now: datetime,
) -> int:
    signed = signer.sign_release(SignRelease(tenant, [one.decode() for one in roots], document.decode()), now)
    made = Freshness(signed.version, signed.snapshot.encode(), signed.timestamp.encode())
    store.publish(roots, targets.version, document, made)
    return made.version


def _check(root: Root, targets: Targets, store: Store, now: datetime) -> None:
    for one in (root, targets):
        if one.is_expired(now):
            raise ArtifactsRefused(
                f"{one.type} {one.version} ended {one.expires:%Y-%m-%d}: 'artifacts renew' begins anew"
            )
    before = store.targets_document()
    if before is not None:
        published = metadata.read(before, Targets, "targets").signed.version
        if targets.version < published:
            raise ArtifactsRefused(f"targets {published} are published, this folder has {targets.version}")
    for path, target in targets.targets.items():
        facts = facts_of(target.custom)
        if isinstance(facts, Malformed):
            raise ArtifactsRefused(f"{path}: {facts.detail}")
