"""The published repository as a device would judge it, by python-tuf's own client on the files themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from fleet_server.artifacts.errors import ArtifactNotFound, ArtifactsRefused
from fleet_server.artifacts.metadata import MAX_ROOT_BYTES, sha256_of
from fleet_server.artifacts.store import Store
from protocol.artifacts import MAX_ROOTS, MAX_TARGETS_BYTES, METADATA_PATH, TARGETS_PATH, TargetFacts, facts_of
from protocol.errors import Malformed

_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Offered:
    """A target as a device would be given it."""

    path: str
    length: int
    sha256: str
    facts: TargetFacts


@dataclass(frozen=True, slots=True)
class Verified:
    """Versions, and until when each holds."""

    ends: dict[str, tuple[int, datetime]]
    targets: list[Offered]


def verify(store: Store, pin: str, *, files: bool = True) -> Verified:
    """Raises ``ArtifactsRefused`` saying what a device would refuse. ``files``: their hashes too."""
    roots = store.roots()
    if not roots or sha256_of(roots[0]) != pin:
        raise ArtifactsRefused("the first root is not the one that the policy names")
    with tempfile.TemporaryDirectory() as folder:
        try:
            updater = Updater(
                folder,
                METADATA_PATH,
                target_dir=folder,
                target_base_url=TARGETS_PATH,
                fetcher=_FromStore(store),
                config=client_config(),
                bootstrap=roots[0],
            )
            updater.refresh()
            return _verified(updater, files=files)
        except (RepositoryError, DownloadError) as error:
            raise ArtifactsRefused(f"a device would refuse this: {error}") from error


def client_config() -> UpdaterConfig:
    """As devices have it: nothing longer than what is ever published, no delegations."""
    return UpdaterConfig(
        max_root_rotations=MAX_ROOTS,
        max_delegations=0,
        root_max_length=MAX_ROOT_BYTES,
        snapshot_max_length=16 * 1024,
        targets_max_length=MAX_TARGETS_BYTES,
    )


def _verified(updater: Updater, *, files: bool) -> Verified:
    trusted = updater._trusted_set  # noqa: SLF001 - the client has no other way to tell what it trusts
    signed = (trusted.root, trusted.timestamp, trusted.snapshot, trusted.targets)
    offered = []
    for path, target in sorted(trusted.targets.targets.items()):
        facts = facts_of(target.custom)
        if isinstance(facts, Malformed):
            raise ArtifactsRefused(f"{path}: {facts.detail}")
        if files:
            _judge_file(updater, target)
        offered.append(Offered(path, target.length, target.hashes["sha256"], facts))
    return Verified({one.type: (one.version, one.expires) for one in signed}, offered)


def _judge_file(updater: Updater, target: TargetFile) -> None:
    Path(updater.download_target(target)).unlink()


class _FromStore(FetcherInterface):
    def __init__(self, store: Store) -> None:
        self._store = store

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = unquote(url)
        try:
            path = (
                self._store.metadata_file(name.removeprefix(METADATA_PATH))
                if name.startswith(METADATA_PATH)
                else self._store.target_file(name.removeprefix(TARGETS_PATH))
            )
        except ArtifactNotFound as error:
            raise DownloadHTTPError(str(error), error.status) from error
        return _chunks(path)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
