"""The whole ceremony for practice: real steps with keys that are marked as a rehearsal's and thrown away.

Each step is said in words with the command that it stands for. What comes of it is refused by `publish`, the signer and
every device, for its root says that it is a rehearsal's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Root, Targets

from fleet_server.approvals.keys import make_key, read_key
from fleet_server.artifacts import metadata
from fleet_server.artifacts.ceremony import Ceremony
from fleet_server.artifacts.metadata import ONLINE, Offices, follow_roots, fresh, sha256_of, signed_targets
from fleet_server.artifacts.store import Store
from fleet_server.artifacts.verifying import verify
from fleet_server.enrollment.private_files import make_private_dir
from protocol.artifacts import ArtifactKind, TargetFacts
from protocol.signing import SigningKey

_HOLDERS = ("root-1", "root-2", "root-3", "targets-1", "targets-2")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Holder:
    """Somebody with a medium of his own."""

    key: Path
    passphrase: str
    public: str

    def sign(self, ceremony: Ceremony) -> list[str]:
        return [path.name for path in ceremony.sign(read_key(self.key, self.passphrase))]


def rehearse(folder: Path, file: Path | None, now: datetime, say: Say) -> None:
    """In ``folder``, which is new. ``file``: to be published for practice; None: a few bytes."""
    holders = {name: _holder(folder, name, say) for name in _HOLDERS}
    online = {role: SigningKey.from_seed(secrets.token_bytes(32)) for role in ONLINE}
    ceremony = Ceremony(make_private_dir(folder / "repository"))
    offices = Offices(
        [holders[name].public for name in _HOLDERS[:3]],
        [holders[name].public for name in _HOLDERS[3:]],
        online["snapshot"].public_hex,
        online["timestamp"].public_hex,
    )
    say("artifacts init: the first root and an empty list are drafted")
    ceremony.begin(offices, now, rehearsal=True)
    _sign(ceremony, holders, ("root-1", "root-3", "targets-1", "targets-2"), say)
    pin = sha256_of(ceremony.roots()[0])
    say(f"artifacts pin: the policy would name this root: {pin[:16]}...")
    _publish(folder, ceremony, pin, online, now, say)
    say("artifacts add: a file is added, the list of targets is a new draft")
    source = file or _practice_file(folder)
    facts = TargetFacts(ArtifactKind.DATA, "1.0.0", ["REHEARSAL"])
    ceremony.add(source, "rehearsal/practice.bin", facts, now)
    _sign(ceremony, holders, ("targets-1", "targets-2"), say)
    _publish(folder, ceremony, pin, online, now, say)
    say("artifacts renew: a year later, root and list are drafted for another year")
    ceremony.renew(None, now)
    _sign(ceremony, holders, ("root-2", "root-3", "targets-2", "targets-1"), say)
    _publish(folder, ceremony, pin, online, now, say)
    say(f"Done. {folder} holds nothing of worth: remove it.")


def _holder(folder: Path, name: str, say: Say) -> _Holder:
    place = make_private_dir(folder / f"REHEARSAL-medium-of-{name}")
    passphrase = f"rehearsal {name} only"
    key = make_key(place / f"REHEARSAL-{name}.pem", passphrase)
    say(f"approver-key FILE --new: {name} makes a key on a medium of its own")
    return _Holder(place / f"REHEARSAL-{name}.pem", passphrase, key.public_hex)


def _sign(ceremony: Ceremony, holders: dict[str, _Holder], names: tuple[str, ...], say: Say) -> None:
    for name in names:
        signed = ", ".join(holders[name].sign(ceremony))
        waiting = "; ".join(f"{one.path.name} lacks {one.missing}" for one in ceremony.pending()) or "nothing waits"
        say(f"artifacts sign: {name} signs {signed}: {waiting}")


def _publish(
    folder: Path, ceremony: Ceremony, pin: str, online: dict[str, SigningKey], now: datetime, say: Say
) -> None:
    roots, document = ceremony.roots(), ceremony.targets_document()
    targets: Targets = signed_targets(follow_roots(roots, pin, rehearsal=True), document)
    store = Store(folder / "published")
    before = len(list(store.folder.glob("metadata/*.snapshot.json")))
    made = fresh(targets, document, online, before + 1, now)
    store.take_files(targets, ceremony.files)
    store.publish(roots, targets.version, document, made)
    judged = verify(store, pin)
    root = metadata.read(roots[-1], Root, "root").signed.version
    say(
        f"artifacts publish, artifacts verify: root {root}, targets {targets.version}; a device's client takes "
        f"{len(judged.targets)} files"
    )


def _practice_file(folder: Path) -> Path:
    path = folder / "practice.bin"
    path.write_bytes(b"rehearsal\n")
    return path
