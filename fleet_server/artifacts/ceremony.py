"""What is signed offline, as files in a folder that needs no server: roots, targets, and the target files themselves.

    metadata/1.root.json     every root, from the one that the policy names
    metadata/3.targets.json  every list of targets
    files/PATH               the targets of the newest list

The newest root and the newest list may lack signatures: whoever holds a key adds one, wherever the folder is carried.

Invariant: what somebody has signed is never changed again; a change is the next version.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from fleet_server.artifacts import metadata
from fleet_server.artifacts.errors import ArtifactsRefused
from fleet_server.artifacts.metadata import MAX_ROOT_BYTES, TARGETS_LIFE, Offices
from fleet_server.enrollment.private_files import make_private_dir, write_private
from protocol.artifacts import CUSTOM, MAX_TARGETS_BYTES, TargetFacts, is_target_path
from protocol.signing import SigningKey


@dataclass(frozen=True, slots=True)
class Pending:
    """A file that still lacks ``missing`` signatures of ``role``'s keys."""

    path: Path
    role: str
    missing: int


class Ceremony:
    """``folder``: made by `begin`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def begin(self, offices: Offices, now: datetime, *, rehearsal: bool = False) -> None:
        """The first root, and a list of no targets. Raises ``ArtifactsRefused`` when there is one already."""
        if (self.folder / "metadata").exists():
            raise ArtifactsRefused(f"{self.folder} holds a repository already")
        make_private_dir(self.folder / "metadata")
        make_private_dir(self.files)
        self._write(metadata.new_root(1, offices, now, rehearsal=rehearsal))
        self._write(Metadata(Targets(version=1, expires=(now + TARGETS_LIFE).replace(microsecond=0))))

    def roots(self) -> list[bytes]:
        """From the first, as they lie here."""
        return [path.read_bytes() for path in self._versions(Root.type)]

    def root(self) -> Metadata[Root]:
        return metadata.read(self._bytes(self._newest(Root.type), MAX_ROOT_BYTES), Root, "root")

    def targets(self) -> Metadata[Targets]:
        return metadata.read(self.targets_document(), Targets, "targets")

    def targets_document(self) -> bytes:
        return self._bytes(self._newest(Targets.type), MAX_TARGETS_BYTES)

    def add(self, source: Path, path: str, facts: TargetFacts, now: datetime) -> TargetFile:
        """``path``: as devices ask for it; one that is there already is replaced."""
        if not is_target_path(path):
            raise ArtifactsRefused(f"expected a path of letters, digits, '.', '_', '-' and '/', came {path[:80]!r}")
        place = self.files / path
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(source, place)
            target = TargetFile.from_file(path, str(place), ["sha256"])
        except OSError as error:
            raise ArtifactsRefused(f"{source} cannot be taken: {error.strerror}") from error
        if target.length == 0:
            raise ArtifactsRefused(f"{source} is empty")
        target.unrecognized_fields["custom"] = {CUSTOM: msgspec.to_builtins(facts)}
        after = self._next_targets(now)
        after.signed.targets[path] = target
        self._write(after)
        return target

    def remove(self, path: str, now: datetime) -> None:
        """Devices that hold it keep it, and are given it no more."""
        after = self._next_targets(now)
        if after.signed.targets.pop(path, None) is None:
            raise ArtifactsRefused(f"the list names no {path[:80]!r}")
        self._write(after)

    def renew(self, offices: Offices | None, now: datetime) -> None:
        """A root and a list of one version more that live a year from now; ``offices`` None: the same keys."""
        present = self.root()
        if offices is None:
            root = Metadata(Root.from_dict(present.signed.to_dict()))
            root.signed.version += 1
            root.signed.expires = (now + metadata.ROOT_LIFE).replace(microsecond=0)
        else:
            rehearsal = metadata.is_rehearsal(present.signed)
            root = metadata.new_root(present.signed.version + 1, offices, now, rehearsal=rehearsal)
        self._refuse_unfinished(self._newest(Root.type), present, present.signed)
        self._write(root)
        self._write(self._next_targets(now))

    def pending(self) -> list[Pending]:
        """What lacks signatures: the newest root by its own keys and by those of the root before, and the list."""
        versions = self._versions(Root.type)
        judges = [metadata.read(one.read_bytes(), Root, one.name).signed for one in versions[-2:]]
        root, targets = self.root(), self.targets()
        missing = max(metadata.missing_signatures(judge, Root.type, root) for judge in judges)
        of_targets = metadata.missing_signatures(judges[-1], Targets.type, targets)
        found = [
            Pending(versions[-1], Root.type, missing),
            Pending(self._newest(Targets.type), Targets.type, of_targets),
        ]
        return [one for one in found if one.missing]

    def sign(self, key: SigningKey) -> list[Path]:
        """Signs what is pending and what this key may sign. Raises ``ArtifactsRefused`` when there is nothing."""
        versions = self._versions(Root.type)[-2:]
        judges = [metadata.read(one.read_bytes(), Root, one.name).signed for one in versions]
        keyid = metadata.public_key(key.public_hex).keyid
        signed = []
        for one in self.pending():
            named = judges if one.role == Root.type else judges[-1:]
            if any(keyid in judge.roles[one.role].keyids for judge in named):
                document: Metadata[Root] | Metadata[Targets] = self.root() if one.role == Root.type else self.targets()
                document.sign(metadata.signer_of(key), append=True)
                self._write(document)
                signed.append(one.path)
        if not signed:
            raise ArtifactsRefused("nothing here waits for this key's signature")
        return signed

    def _next_targets(self, now: datetime) -> Metadata[Targets]:
        present = self.targets()
        after = Metadata(Targets.from_dict(present.signed.to_dict()))
        if not present.signatures:
            # Nobody has signed it yet: changes are gathered in one version.
            return after
        after.signed.version += 1
        after.signed.expires = (now + TARGETS_LIFE).replace(microsecond=0)
        return after

    @staticmethod
    def _refuse_unfinished(path: Path, document: Metadata[Root], judge: Root) -> None:
        if metadata.missing_signatures(judge, Root.type, document):
            raise ArtifactsRefused(f"{path} still lacks signatures: have it signed first")

    def _versions(self, role: str) -> Sequence[Path]:
        found = sorted(self.folder.glob(f"metadata/*.{role}.json"), key=lambda one: int(one.name.partition(".")[0]))
        if not found:
            raise ArtifactsRefused(f"{self.folder} holds no {role}: 'fleet-server artifacts init' begins one")
        return found

    def _newest(self, role: str) -> Path:
        return self._versions(role)[-1]

    @staticmethod
    def _bytes(path: Path, limit: int) -> bytes:
        document = path.read_bytes()
        if len(document) > limit:
            raise ArtifactsRefused(f"{path} is {len(document)} bytes, limit {limit}")
        return document

    def _write(self, document: Metadata[Root] | Metadata[Targets]) -> None:
        name = f"{document.signed.version}.{document.signed.type}.json"
        body = document.to_bytes()
        limit = MAX_ROOT_BYTES if document.signed.type == Root.type else MAX_TARGETS_BYTES
        if len(body) > limit:
            raise ArtifactsRefused(f"{name} would be {len(body)} bytes, limit {limit}: remove what is not needed")
        write_private(self.folder / "metadata" / name, body)
