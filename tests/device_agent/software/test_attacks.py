"""Attacks of whoever owns server, network and online keys, in the words of the specification (section 1.5.2)."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets, Timestamp

from device_agent.software.errors import SoftwareRefused, SoftwareUnreachable
from fleet_server.artifacts import metadata
from fleet_server.artifacts.store import Store
from protocol.artifacts import TARGETS_PATH, ArtifactKind, TargetFacts
from protocol.signing import SigningKey
from tests.device_agent.software.rig import CONTENT, Rig, rig_with
from tests.support.software import APP, RELEASE_1, RELEASE_2, ROOT_2, ROOT_3, STRANGER, Software

NEXT = TargetFacts(ArtifactKind.PAYMENT_APPLICATION, "5.6.0", ["TM-E30"])


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return rig_with(tmp_path)


def refused(rig: Rig, match: str | None = None) -> None:
    before = rig.keeper.in_hand(APP)
    with pytest.raises(SoftwareRefused, match=match):
        rig.fetch()
    assert before is not None or not rig.keeper.file(APP).exists()


def online_keys(rig: Rig) -> dict[str, SigningKey]:
    """Stolen."""
    folder = rig.software.folder
    return {
        role: SigningKey.from_seed(bytes.fromhex((folder / f"{role}.seed").read_text().strip()))
        for role in ("snapshot", "timestamp")
    }


def publish_with_stolen_keys(rig: Rig, targets: bytes, version: int, keys: dict[str, SigningKey] | None = None) -> None:
    signed = metadata.read(targets, Targets, "targets").signed
    made = metadata.fresh(signed, targets, keys or online_keys(rig), version, rig.software.now)
    rig.software.store.publish(rig.software.ceremony.roots(), signed.version, targets, made)


def version_of(rig: Rig) -> int:
    path = rig.software.store.metadata_file("timestamp.json")
    return Metadata[Timestamp].from_bytes(path.read_bytes()).signed.version


def kept_copy(rig: Rig) -> Store:
    copy = rig.software.folder / "copy"
    shutil.copytree(rig.software.store.folder, copy)
    return Store(copy)


def test_software_that_nobody_signed_is_refused(rig: Rig) -> None:
    rig.software.add(b"evil " * 30, APP, NEXT)
    publish_with_stolen_keys(rig, rig.software.ceremony.targets_document(), version_of(rig) + 1)
    refused(rig, "0/2")


def test_one_signature_short_is_refused(rig: Rig) -> None:
    rig.software.add(b"evil " * 30, APP, NEXT)
    rig.software.ceremony.sign(RELEASE_1)
    publish_with_stolen_keys(rig, rig.software.ceremony.targets_document(), version_of(rig) + 1)
    refused(rig, "1/2")


def test_the_same_signature_twice_is_one(rig: Rig) -> None:
    rig.software.add(b"evil " * 30, APP, NEXT)
    rig.software.ceremony.sign(RELEASE_1)
    said = json.loads(rig.software.ceremony.targets_document())
    said["signatures"] *= 2
    publish_twisted(rig, json.dumps(said).encode())
    refused(rig)


def publish_twisted(rig: Rig, document: bytes) -> None:
    version = json.loads(document)["signed"]["version"]
    targets = Targets(version=version)
    made = metadata.fresh(targets, document, online_keys(rig), version_of(rig) + 1, rig.software.now)
    rig.software.store.publish(rig.software.ceremony.roots(), version, document, made)


def test_wrong_keys_are_refused(rig: Rig) -> None:
    said = Metadata[Targets].from_bytes(rig.software.ceremony.targets_document())
    said.signed.version += 1
    said.sign(metadata.signer_of(STRANGER))
    said.sign(metadata.signer_of(ROOT_2), append=True)
    publish_with_stolen_keys(rig, said.to_bytes(), version_of(rig) + 1)
    refused(rig, "0/2")


def test_a_repository_of_somebody_else_is_refused(rig: Rig, tmp_path: Path) -> None:
    other = Software(tmp_path / "other", rig.software.now)
    other.release(b"evil " * 30)
    rig.source.store = other.store
    refused(rig, "first root")


def test_a_root_that_too_few_of_the_former_keys_signed_is_refused(rig: Rig) -> None:
    rig.fetch()
    offices = replace(rig.software.offices(), root=[STRANGER.public_hex, ROOT_3.public_hex])
    rig.software.ceremony.renew(offices, rig.software.now)
    rig.software.sign((STRANGER, ROOT_3, RELEASE_1, RELEASE_2))
    publish_with_stolen_keys(rig, rig.software.ceremony.targets_document(), version_of(rig) + 1)
    refused(rig, "root was signed by 1/2")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_rollback_is_refused(rig: Rig, role: str) -> None:
    """A server that shows what was true before; also to an agent whose folder was restored from before."""
    before = kept_copy(rig)
    old_agent = rig.folder.parent / "old-agent"
    rig.fetch()
    shutil.copytree(rig.folder / "software", old_agent)
    rig.software.release(b"5.6.0 " * 30, APP, NEXT)
    rig.fetch()
    if role == "timestamp":
        rig.source.store = before
    else:
        old = before.targets_document()
        assert old is not None
        version = version_of(rig) + 1 if role == "targets" else version_of(rig)
        publish_with_stolen_keys(rig, old, version if role == "targets" else version - 1)
    rig.keeper.want(APP)
    with pytest.raises(SoftwareRefused):
        rig.keeper.look()
    shutil.rmtree(rig.folder / "software")
    shutil.copytree(old_agent, rig.folder / "software")
    rig.start_again()
    rig.keeper.want(APP)
    with pytest.raises(SoftwareRefused, match="was here before"):
        rig.keeper.look()


def test_the_other_place_restored_alone_sets_nothing_back_either(rig: Rig) -> None:
    before = kept_copy(rig)
    rig.fetch()
    guard = rig.folder / "guard"
    shutil.copytree(guard, rig.folder / "old-guard")
    rig.software.release(b"5.6.0 " * 30, APP, NEXT)
    rig.fetch()
    shutil.rmtree(guard)
    shutil.copytree(rig.folder / "old-guard", guard)
    shutil.rmtree(rig.folder / "software" / "tuf")
    rig.source.store = before
    rig.start_again()
    rig.keeper.want(APP)
    with pytest.raises(SoftwareRefused, match="was here before"):
        rig.keeper.look()


def test_freeze_is_noticed_by_the_trusted_clock_whatever_the_machines_own_says(rig: Rig) -> None:
    rig.ahead_ms = int(timedelta(days=8).total_seconds() * 1000)
    refused(rig, "expired")


def test_a_machine_whose_clock_is_ahead_takes_what_is_fresh_by_the_trusted_clock(tmp_path: Path) -> None:
    rig = rig_with(tmp_path)
    rig.software.now -= timedelta(days=400)
    rig.software = Software(tmp_path / "then", rig.software.now)
    rig.software.release(CONTENT)
    rig.source.store, rig.pin = rig.software.store, rig.software.pin
    rig.fetch()
    assert rig.keeper.in_hand(APP) is not None


def test_mix_and_match_is_refused(rig: Rig) -> None:
    """The newest timestamp with a snapshot, or a list, of another time."""
    before = rig.software.store.targets_document()
    rig.software.release(b"5.6.0 " * 30, APP, NEXT)
    assert before is not None

    def twist(path: str, content: bytes) -> bytes:
        return before if path.endswith(".targets.json") else content

    rig.source.twist = twist
    refused(rig)


def test_a_snapshot_of_another_time_is_refused(rig: Rig) -> None:
    (old,) = rig.software.store.folder.glob("metadata/*.snapshot.json")
    content = old.read_bytes()
    rig.software.release(b"5.6.0 " * 30, APP, NEXT)
    rig.source.twist = lambda path, given: content if path.endswith(".snapshot.json") else given
    refused(rig)


@pytest.mark.parametrize("name", ["timestamp.json", ".snapshot.json", ".targets.json", "1.root.json", "payment.bin"])
def test_endless_data_is_cut_off(rig: Rig, name: str) -> None:
    rig.source.twist = lambda path, given: given + b"x" * 5_000_000 if path.endswith(name) else given
    with pytest.raises((SoftwareRefused, SoftwareUnreachable)):
        rig.fetch()
    assert rig.source.given_bytes < 300_000
    assert not rig.keeper.file(APP).exists()


@pytest.mark.parametrize("evil", [CONTENT[:-1] + b"x", CONTENT[:-1], CONTENT + b"x", b"", b"x" * len(CONTENT)])
def test_wrong_length_and_wrong_hash_are_refused(rig: Rig, evil: bytes) -> None:
    rig.source.twist = lambda path, given: evil if path.startswith(TARGETS_PATH) else given
    with pytest.raises((SoftwareRefused, SoftwareUnreachable)):
        rig.fetch()
    assert rig.keeper.in_hand(APP) is None
    assert not rig.keeper.file(APP).exists()
    rig.source.twist = lambda _path, given: given
    rig.keeper.look()
    assert rig.keeper.file(APP).read_bytes() == CONTENT


def test_fast_forward_is_mended_by_a_root_with_other_online_keys(rig: Rig) -> None:
    rig.fetch()
    publish_with_stolen_keys(rig, rig.software.ceremony.targets_document(), 2**40)
    rig.fetch()
    rig.software.ceremony.renew(rig.software.offices(following=True), rig.software.now)
    rig.software.sign()
    rig.software.publish()
    rig.fetch()
    assert version_of(rig) < 2**40
    assert rig.keeper.in_hand(APP) is not None


def test_a_rehearsals_repository_is_refused(rig: Rig, tmp_path: Path) -> None:
    from fleet_server.artifacts.ceremony import Ceremony
    from fleet_server.artifacts.rehearsal import rehearse

    folder = tmp_path / "practice"
    folder.mkdir()
    rehearse(folder, None, rig.software.now, lambda _line: None)
    rig.source.store = Store(folder / "published")
    rig.pin = metadata.sha256_of(Ceremony(folder / "repository").roots()[0])
    refused(rig, "rehearsal")


def instead_of_the_timestamp(garbage: bytes, path: str, given: bytes) -> bytes:
    return garbage if path.endswith("timestamp.json") else given


def test_garbage_is_refused_and_ends_nothing(rig: Rig) -> None:
    for garbage in (b"", b"{", b"[]", b"\xff" * 100, b"[" * 10_000, b'{"signed": {}, "signatures": []}'):
        rig.source.twist = partial(instead_of_the_timestamp, garbage)
        with pytest.raises((SoftwareRefused, SoftwareUnreachable)):
            rig.fetch()
    rig.source.twist = lambda _path, given: given
    rig.keeper.look()
    assert rig.keeper.in_hand(APP) is not None
