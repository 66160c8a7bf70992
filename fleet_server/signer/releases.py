"""Snapshots and timestamps of the repositories of software: the two online roles of TUF.

What is signed is made here and not by the caller: the names of what the offline keys have signed, and this process's
own time. So whoever takes the web process can neither mix lists nor go back to an old one; nor could he with these keys
alone put a target in.

Invariant: of a tenant no list and no root is signed for that is older than one before, and versions only rise.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from fleet_server.artifacts.errors import ArtifactsRefused
from fleet_server.artifacts.metadata import ONLINE, follow_roots, fresh, online_key, signed_targets
from fleet_server.enrollment.private_files import read_or_make_seed
from fleet_server.kit.times import from_ms
from fleet_server.signer.errors import ReleaseRefused
from fleet_server.signer.keys import KeyFiles, load_key
from fleet_server.signer.messages import ReleaseKeys, SignedRelease, SignRelease
from fleet_server.signer.state import SignerState
from protocol.signing import Policy, SigningKey

_FACT = "release/"


class _Last(msgspec.Struct, frozen=True):
    """Of one tenant. ``pin``: of which first root."""

    pin: str = ""
    root: int = 0
    targets: int = 0
    version: int = 0


def offered(folder: Path, *, following: bool) -> ReleaseKeys:
    """Made when there are none."""
    publics = {}
    for role in ONLINE:
        files = _files(folder, role)
        key = SigningKey.from_seed(read_or_make_seed(files.present))
        publics[role] = files.prepared().public_hex if following else key.public_hex
    return ReleaseKeys(**publics)


def sign_release(folder: Path, policy: Policy, state: SignerState, asked: SignRelease, now_ms: int) -> SignedRelease:
    """Raises ``ReleaseRefused``."""
    pin = policy.artifact_roots.get(asked.tenant)
    if pin is None:
        raise ReleaseRefused(f"policy {policy.version} names no repository of software for {asked.tenant}")
    document = asked.targets.encode()
    try:
        root = follow_roots([one.encode() for one in asked.roots], pin)
        targets = signed_targets(root, document)
    except ArtifactsRefused as error:
        raise ReleaseRefused(str(error)) from error
    last = _last(state, asked.tenant, pin)
    if root.version < last.root or targets.version < last.targets:
        raise ReleaseRefused(
            f"expected root {last.root} and targets {last.targets} or later, came {root.version} and {targets.version}"
        )
    keys = {role: _key(folder, role, online_key(root, role, _offered(folder, role))) for role in ONLINE}
    # A restored server goes on above what terminals have seen, for seconds do not come again.
    version = max(last.version + 1, now_ms // 1000)
    made = fresh(targets, document, keys, version, from_ms(now_ms))
    after = _Last(pin, root.version, targets.version, version)
    said = {"tenant": asked.tenant, "root": root.version, "targets": targets.version, "version": version}
    state.note("release", said, now_ms, {f"{_FACT}{asked.tenant}": msgspec.json.encode(after).decode()})
    return SignedRelease(version, made.snapshot.decode(), made.timestamp.decode())


def _last(state: SignerState, tenant: str, pin: str) -> _Last:
    """Another first root begins another count of roots and targets."""
    text = state.fact(f"{_FACT}{tenant}")
    last = _Last() if text is None else msgspec.json.decode(text, type=_Last)
    return last if last.pin == pin else _Last(version=last.version)


def _files(folder: Path, role: str) -> KeyFiles:
    return KeyFiles(folder / f"{role}.seed")


def _offered(folder: Path, role: str) -> list[SigningKey]:
    files = _files(folder, role)
    return [load_key(path) for path in (files.present, files.next) if path.exists()]


def _key(folder: Path, role: str, key: SigningKey | None) -> SigningKey:
    """The next key is taken into use once a root names it."""
    if key is None:
        raise ReleaseRefused(f"the root names another {role} key than this signer has: have a root signed that does")
    files = _files(folder, role)
    if files.next.exists() and load_key(files.next).public_hex == key.public_hex:
        files.take()
    return key
