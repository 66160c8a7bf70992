"""The tenant's repository as `tuf.ngclient` judges it. The only module that loads python-tuf, and only when it is used.

Beyond the client workflow: the first root is the one that the policy names; time is the trusted clock's; no version is
below what was seen before, whatever of this machine was restored (`floors`).

Invariant: a target is answered only after the whole workflow succeeded and the versions seen are kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from device_agent.errors import AgentError
from device_agent.software.errors import SoftwareNotOffered, SoftwareRefused, SoftwareUnreachable
from device_agent.software.floors import Floors
from device_agent.software.parts import Parts
from device_agent.software.whole_files import write_whole
from protocol.artifacts import (
    MAX_ROOTS,
    MAX_TARGETS_BYTES,
    METADATA_PATH,
    REHEARSAL,
    TARGETS_PATH,
    TargetFacts,
    facts_of,
)
from protocol.errors import Malformed

MAX_ROOT_BYTES = 16 * 1024
_KEY_CHARS = 16


@dataclass(frozen=True, slots=True)
class Target:
    path: str
    length: int
    sha256: str
    facts: TargetFacts
    described: TargetFile


class Repository:
    """As of one refresh. ``folder``: of this first root's metadata alone."""

    def __init__(self, folder: Path, pin: str, parts: Parts, floors: Floors, now_ms: int) -> None:
        self._parts = parts
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fetcher = _Fetcher(parts)
        with _told():
            self._updater = Updater(
                str(folder),
                METADATA_PATH,
                target_base_url=TARGETS_PATH,
                fetcher=fetcher,
                config=UpdaterConfig(
                    max_root_rotations=MAX_ROOTS,
                    max_delegations=0,
                    root_max_length=MAX_ROOT_BYTES,
                    snapshot_max_length=MAX_ROOT_BYTES,
                    targets_max_length=MAX_TARGETS_BYTES,
                ),
                bootstrap=_first_root(folder, pin, fetcher),
            )
            # The machine's own clock may be decades off; the client has no other way to be told the time.
            trusted = self._updater._trusted_set  # noqa: SLF001 - as above
            trusted.reference_time = datetime.fromtimestamp(now_ms / 1000, UTC)
            self._updater.refresh()
        if REHEARSAL in trusted.root.unrecognized_fields:
            raise SoftwareRefused("the repository is a rehearsal's")
        seen = self._versions(pin)
        floors.check(seen)
        floors.raise_to(seen)

    def offered(self) -> dict[str, Target]:
        """By path; what does not say what it is for is left out."""
        found = {}
        for path, described in self._updater._trusted_set.targets.targets.items():  # noqa: SLF001 - the client asks by path
            facts = facts_of(described.custom)
            if not isinstance(facts, Malformed) and set(described.hashes) == {"sha256"}:
                found[path] = Target(path, described.length, described.hashes["sha256"], facts, described)
        return found

    def download(self, target: Target) -> Path:
        """The whole file, judged; the caller puts it in its place."""
        part = self._parts.place(target.sha256)
        try:
            with _told():
                # What the fetcher hands over is judged where it lies: it need not be there twice.
                self._updater.download_target(target.described, os.devnull)
        except SoftwareRefused:
            part.unlink(missing_ok=True)
            raise
        return part

    def _versions(self, pin: str) -> dict[str, int]:
        trusted = self._updater._trusted_set  # noqa: SLF001 - the client has no other way to tell
        signed = {"timestamp": trusted.timestamp, "snapshot": trusted.snapshot, "targets": trusted.targets}
        seen = {f"root/{pin[:_KEY_CHARS]}": trusted.root.version}
        for role, one in signed.items():
            keys = ",".join(sorted(trusted.root.roles[role].keyids))
            seen[f"{role}/{hashlib.sha256(f'{pin}/{keys}'.encode()).hexdigest()[:_KEY_CHARS]}"] = one.version
        return seen


class _Fetcher(FetcherInterface):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            with self._parts.source.fetch(url, 0) as answer:
                if answer.status != 200:
                    raise DownloadHTTPError(f"answer {answer.status}", answer.status)
                for chunk in answer.chunks:
                    self._parts.spend(len(chunk))
                    yield chunk
        except SoftwareUnreachable as error:
            raise DownloadError(str(error)) from error

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        if not url.startswith(TARGETS_PATH):
            with super().download_file(url, max_length) as file:
                yield file
            return
        with self._parts.whole(url, max_length) as file:
            yield file


def _first_root(folder: Path, pin: str, fetcher: _Fetcher) -> bytes:
    """Raises ``SoftwareRefused`` unless it is the one that the policy names."""
    kept = folder / "first.root.json"
    document = kept.read_bytes() if kept.exists() else b""
    if hashlib.sha256(document).hexdigest() != pin:
        document = fetcher.download_bytes(f"{METADATA_PATH}1.root.json", MAX_ROOT_BYTES)
        if hashlib.sha256(document).hexdigest() != pin:
            raise SoftwareRefused("the server's first root is not the one that the policy names")
        write_whole(kept, document)
    return document


@contextmanager
def _told() -> Iterator[None]:
    """The client's errors in this agent's words."""
    try:
        yield
    except AgentError:
        raise
    except DownloadHTTPError as error:
        kind = SoftwareNotOffered if error.status_code == 404 else SoftwareUnreachable
        raise kind(f"the server answered {error.status_code}") from error
    except DownloadError as error:
        too_long = type(error).__name__ == "DownloadLengthMismatchError"
        raise (SoftwareRefused if too_long else SoftwareUnreachable)(str(error)) from error
    except (RepositoryError, ValueError) as error:
        raise SoftwareRefused(str(error)[:300]) from error
