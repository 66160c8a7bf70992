"""What is signed offline: how many keys it takes, and what nobody can have signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Root

from fleet_server.artifacts import metadata
from fleet_server.artifacts.ceremony import Ceremony
from fleet_server.artifacts.errors import ArtifactsRefused
from fleet_server.artifacts.rehearsal import rehearse
from fleet_server.artifacts.verifying import verify
from fleet_server.kit.times import utc_now
from fleet_server.signer.errors import ReleaseRefused
from fleet_server.signer.messages import SignRelease
from protocol.artifacts import ArtifactKind, TargetFacts
from protocol.signing import SigningKey
from tests.support.software import APP, FACTS, RELEASE_1, RELEASE_2, ROOT_1, ROOT_2, ROOT_3, STRANGER, TENANT, Software


@pytest.fixture
def software(tmp_path: Path) -> Software:
    # python-tuf's client goes by the machine's own clock.
    return Software(tmp_path, utc_now())


def test_what_two_people_signed_is_what_a_device_takes(software: Software) -> None:
    done = software.release(b"new software")
    assert (done.root, done.targets, done.files_taken) == (1, 2, 1)
    found = verify(software.store, software.pin)
    assert [(one.path, one.length, one.facts) for one in found.targets] == [(APP, 12, FACTS)]


@pytest.mark.parametrize("key", [RELEASE_1, RELEASE_2])
def test_one_signature_short_is_not_published(software: Software, key: SigningKey) -> None:
    software.add(b"new software")
    software.ceremony.sign(key)
    software.ceremony.sign(key)
    assert [one.missing for one in software.ceremony.pending()] == [1]
    with pytest.raises(ArtifactsRefused, match="1/2"):
        software.publish()


def test_a_key_that_the_root_does_not_name_signs_nothing(software: Software) -> None:
    software.add(b"new software")
    for key in (STRANGER, ROOT_1):
        with pytest.raises(ArtifactsRefused, match="nothing here waits"):
            software.ceremony.sign(key)


def test_what_was_signed_is_not_changed_but_followed(software: Software) -> None:
    software.add(b"one")
    software.ceremony.sign(RELEASE_1)
    software.add(b"two")
    assert software.ceremony.targets().signed.version == 3
    assert software.ceremony.targets().signatures == {}


def test_changes_before_the_first_signature_are_one_version(software: Software) -> None:
    software.add(b"one")
    software.add(b"two", "data/other.bin")
    assert software.ceremony.targets().signed.version == 2


def test_a_file_that_was_changed_after_it_was_signed_is_not_published(software: Software) -> None:
    software.add(b"new software")
    software.sign()
    (software.ceremony.files / APP).write_bytes(b"bad software")
    with pytest.raises(ArtifactsRefused, match="is not what was signed"):
        software.publish()


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/../b", ".x", "a/.x", "a b", "", "a" * 201, "ä"])
def test_a_path_leads_nowhere_else(software: Software, path: str) -> None:
    with pytest.raises(ArtifactsRefused, match="expected a path"):
        software.add(b"x", path)


def test_an_empty_file_is_no_software(software: Software) -> None:
    with pytest.raises(ArtifactsRefused, match="is empty"):
        software.add(b"")


def test_the_next_root_is_signed_by_the_former_keys_too(software: Software) -> None:
    software.release(b"one")
    fresh = replace(software.offices(), root=[STRANGER.public_hex, ROOT_2.public_hex, ROOT_3.public_hex])
    software.ceremony.renew(fresh, software.now)
    software.sign((STRANGER, ROOT_3, RELEASE_1, RELEASE_2))
    assert [(one.role, one.missing) for one in software.ceremony.pending()] == [("root", 1)]
    with pytest.raises(ArtifactsRefused, match="root 2"):
        software.publish()
    software.ceremony.sign(ROOT_1)
    assert software.publish().root == 2
    assert verify(software.store, software.pin).ends["root"][0] == 2


def test_no_root_follows_one_that_lacks_signatures(software: Software) -> None:
    software.ceremony.renew(None, software.now)
    with pytest.raises(ArtifactsRefused, match="still lacks signatures"):
        software.ceremony.renew(None, software.now)


def test_offline_offices_take_two_keys_and_no_online_one(software: Software) -> None:
    sound = software.offices()
    for unsound in (
        replace(sound, targets=sound.targets[:1], targets_threshold=1),
        replace(sound, root_threshold=1),
        replace(sound, root_threshold=4),
        replace(sound, targets=[sound.targets[0], sound.snapshot]),
    ):
        with pytest.raises(ArtifactsRefused):
            metadata.new_root(1, unsound, software.now)


def test_taking_a_file_off_the_list_takes_it_off_the_server(software: Software) -> None:
    software.release(b"one")
    software.ceremony.remove(APP, software.now)
    software.sign()
    assert software.publish().files_gone == 1
    assert verify(software.store, software.pin).targets == []
    with pytest.raises(ArtifactsRefused, match="names no"):
        software.ceremony.remove(APP, software.now)


def test_a_folder_begins_once(software: Software) -> None:
    with pytest.raises(ArtifactsRefused, match="already"):
        software.ceremony.begin(software.offices(), software.now)


def test_what_has_ended_is_not_published(software: Software) -> None:
    software.release(b"one")
    software.now += timedelta(days=366)
    with pytest.raises(ArtifactsRefused, match="ended"):
        software.publish()
    software.ceremony.renew(None, software.now)
    software.sign()
    assert software.publish().root == 2


def test_a_rehearsal_goes_through_every_step_and_is_worth_nothing(software: Software, tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "rehearsal"
    folder.mkdir()
    rehearse(folder, None, software.now, said.append)
    for word in ("artifacts init", "artifacts sign", "artifacts pin", "artifacts add", "artifacts renew"):
        assert any(line.startswith(word) for line in said), word
    assert all(path.name.startswith("REHEARSAL-") for path in folder.rglob("*.pem"))
    practised = Ceremony(folder / "repository")
    pin = metadata.sha256_of(practised.roots()[0])
    with pytest.raises(ArtifactsRefused, match="rehearsal"):
        metadata.follow_roots(practised.roots(), pin)
    software.ceremony, software.pin = practised, pin
    software.signer = software.signer_for({TENANT: pin})
    with pytest.raises(ArtifactsRefused, match="rehearsal"):
        software.publish()
    asked = SignRelease(TENANT, [one.decode() for one in practised.roots()], practised.targets_document().decode())
    with pytest.raises(ReleaseRefused, match="rehearsal"):
        software.signer.sign_release(asked, software.now)


def test_metadata_of_another_kind_is_refused(software: Software) -> None:
    with pytest.raises(ArtifactsRefused, match="expected root"):
        metadata.read(software.ceremony.targets_document(), Root, "root")
    for content in (b"", b"{}", b"[" * 100_000, b"\xff"):
        with pytest.raises(ArtifactsRefused, match="expected TUF metadata"):
            metadata.read(content, Root, "root")


def test_the_list_stays_as_short_as_the_signer_takes(software: Software) -> None:
    facts = TargetFacts(ArtifactKind.DATA, "1.0.0", ["M" * 80] * 32)

    def fill() -> None:
        for number in range(100):
            software.add(b"x", f"data/{number}.bin", facts)

    with pytest.raises(ArtifactsRefused, match="limit"):
        fill()
