"""What devices of one tenant are given, as it lies on the server: ``DATA/artifacts/TENANT/{metadata,targets}``.

Invariant: ``timestamp.json`` names only what is there already; a reader who began with the former one finds that too.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import Root, Targets

from fleet_server.artifacts import metadata
from fleet_server.artifacts.errors import ArtifactNotFound, ArtifactsRefused
from fleet_server.artifacts.metadata import Freshness
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.settings import ServerSettings
from protocol.artifacts import MAX_PATH, is_target_path
from protocol.identifiers import TenantId

_METADATA = re.compile(r"(timestamp|[0-9]{1,16}\.(root|targets|snapshot))\.json")
# Of each kind, for who is in the middle of a refresh, or asleep in it.
_KEPT = 20
# SHA-256 in hexadecimal, and a dot.
_HASH = 65


@dataclass(frozen=True, slots=True)
class Store:
    folder: Path

    @classmethod
    def of(cls, settings: ServerSettings, tenant: str) -> Store:
        return cls(settings.artifacts_dir / TenantId(tenant))

    @property
    def exists(self) -> bool:
        return (self.folder / "metadata" / "timestamp.json").exists()

    def roots(self) -> list[bytes]:
        return [path.read_bytes() for path in self._versions(Root.type)]

    def targets_document(self) -> bytes | None:
        found = self._versions(Targets.type)
        return found[-1].read_bytes() if found else None

    def metadata_file(self, name: str) -> Path:
        """Raises ``ArtifactNotFound``."""
        return self._existing("metadata", name if _METADATA.fullmatch(name) else "")

    def target_file(self, path: str) -> Path:
        """``path``: with the hash before its last part, as consistent snapshots have it."""
        return self._existing("targets", path if is_target_path(path, MAX_PATH + _HASH) else "")

    def take_files(self, targets: Targets, source: Path) -> int:
        """Copies what is not here yet, after having judged it; how many."""
        taken = 0
        for path, target in targets.targets.items():
            if not is_target_path(path) or list(target.hashes) != ["sha256"]:
                raise ArtifactsRefused(f"{path[:80]!r}: expected a plain path and one SHA-256")
            place = self.folder / "targets" / hashed_name(path, target.hashes["sha256"])
            if place.exists() and place.stat().st_size == target.length:
                continue
            try:
                with (source / path).open("rb") as file:
                    target.verify_length_and_hashes(file)
                _copy(source / path, place)
            except LengthOrHashMismatchError as error:
                raise ArtifactsRefused(f"{source / path} is not what was signed: {error}") from error
            except OSError as error:
                raise ArtifactsRefused(f"{source / path} cannot be taken: {error.strerror}") from error
            taken += 1
        return taken

    def publish(self, roots: Sequence[bytes], targets_version: int, targets: bytes, fresh: Freshness) -> None:
        place = make_private_dir(self.folder / "metadata")
        for document in roots:
            write_private(place / f"{metadata.read(document, Root, 'root').signed.version}.root.json", document)
        write_private(place / f"{targets_version}.targets.json", targets)
        write_private(place / f"{fresh.version}.snapshot.json", fresh.snapshot)
        # Last: with it the rest is seen.
        write_private(place / "timestamp.json", fresh.timestamp)
        for role in ("snapshot", "targets"):
            for old in self._versions(role)[:-_KEPT]:
                old.unlink(missing_ok=True)

    def forget_files(self, targets: Targets) -> int:
        """Those that the list does not name; how many."""
        named = {hashed_name(path, target.hashes["sha256"]) for path, target in targets.targets.items()}
        base = self.folder / "targets"
        gone = [one for one in base.rglob("*") if one.is_file() and one.relative_to(base).as_posix() not in named]
        for path in gone:
            path.unlink()
        return len(gone)

    def _versions(self, role: str) -> list[Path]:
        found = self.folder.glob(f"metadata/*.{role}.json")
        return sorted(found, key=lambda one: int(one.name.partition(".")[0]))

    def _existing(self, part: str, name: str) -> Path:
        base = self.folder / part
        path = base / name
        if not name or not path.is_file() or not path.resolve().is_relative_to(base.resolve()):
            raise ArtifactNotFound("there is no such file in this tenant's repository")
        return path


def hashed_name(path: str, sha256: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{sha256}.{name}"


def _copy(source: Path, place: Path) -> None:
    """Under its name only when it is whole and on disk."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.part")
    shutil.copyfile(source, fresh)
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())
    fresh.replace(place)
