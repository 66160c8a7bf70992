from __future__ import annotations

import json
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from device_agent.adapters import identity_files
from device_agent.errors import ConfigurationInvalid
from fleet_server.enrollment.authority import Authority, Issued
from fleet_server.kit.times import utc_now
from protocol.enrolment import Enrolled

LINK = "d-0123456789abcdef"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make(utc_now())


def write_bundle(folder: Path, issued: Issued) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "client.key").write_bytes(issued.key_pem)
    (folder / "client.crt").write_bytes(issued.certificate_pem)
    return folder


def answer(authority: Authority, key: identity_files.Key, link: str = LINK) -> Enrolled:
    made = authority.certify_link(link, key.public_key(), utc_now())
    return Enrolled(made.certificate_pem.decode(), {"link": link}, "{}")


def test_whenever_it_is_killed_there_is_a_whole_identity_and_asking_again_ends_well(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.device_agent.adapters.killed_at_each_step", str(tmp_path)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(found) > 10
    assert [one["code"] for one in found] == [99] * (len(found) - 1) + [0]
    which = [one["which"] for one in found]
    assert which == sorted(which, reverse=True), "the new one stays once it is there"
    assert set(which) == {"old", "new"}
    assert {one["after"] for one in found} == {"new"}
    assert all(one["is_same_key_asked"] for one in found if one["which"] == "old")
    assert {mode for one in found for mode in one["modes"]} == {0o600}


def test_an_enrolment_that_was_cut_short_asks_with_the_same_key(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    first = identity_files.pending_key(bundle)
    again = identity_files.pending_key(bundle)
    assert first.private_numbers() == again.private_numbers()
    (file,) = bundle.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o700


def test_a_bundle_is_complete_with_its_last_file_and_its_owners_alone(authority: Authority, tmp_path: Path) -> None:
    key = identity_files.pending_key(tmp_path / "b")
    ca_pem = authority.certificate_pem.decode()
    assert identity_files.keep_bundle(tmp_path / "b", answer(authority, key), ca_pem, key) == LINK
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "b").iterdir()}
    assert names == dict.fromkeys(("ca.crt", "client.crt", "client.key", "enrolment.json", "policy.json"), 0o600)
    assert identity_files.load_identity(tmp_path / "b", tmp_path, LINK).ends_at > utc_now() + timedelta(days=80)


def test_an_answer_of_another_authority_or_for_another_key_or_name_is_not_taken(
    authority: Authority, tmp_path: Path
) -> None:
    key, other = identity_files.pending_key(tmp_path / "b"), identity_files.pending_key(tmp_path / "c")
    ca_pem = authority.certificate_pem.decode()
    foreign = Authority.make(utc_now())
    wrong = [
        answer(foreign, key),
        answer(authority, other),
        Enrolled(answer(authority, key).certificate, {"link": "d-fedcba9876543210"}, "{}"),
        Enrolled(answer(authority, key).certificate, {}, "{}"),
        Enrolled("nonsense", {"link": LINK}, "{}"),
        # A leaf that plays the authority.
        Enrolled(answer(authority, key).certificate + answer(authority, other).certificate, {"link": LINK}, "{}"),
    ]
    for one in wrong:
        with pytest.raises(ConfigurationInvalid):
            identity_files.keep_bundle(tmp_path / "b", one, ca_pem, key)
        with pytest.raises(ConfigurationInvalid):
            identity_files.keep_renewed(tmp_path, one.certificate, ca_pem, str(one.enrolment.get("link", "")), key)
    assert not (tmp_path / "b" / "client.crt").exists()
    assert not (tmp_path / identity_files.RENEWED).exists()


def test_the_newer_of_two_identities_is_used(tmp_path: Path) -> None:
    now = utc_now()
    authority = Authority.make(now - timedelta(days=90))
    bundle = write_bundle(tmp_path / "b", authority.issue_link(LINK, now - timedelta(days=60)))
    key = identity_files.next_key(tmp_path)
    renewed = authority.certify_link(LINK, key.public_key(), now - timedelta(days=1))
    ca_pem = authority.certificate_pem.decode()
    identity_files.keep_renewed(tmp_path, renewed.certificate_pem.decode(), ca_pem, LINK, key)
    assert identity_files.load_identity(bundle, tmp_path, LINK).key_file == tmp_path / identity_files.RENEWED
    # A bundle that somebody carried here after that.
    write_bundle(bundle, authority.issue_link(LINK, now))
    assert identity_files.load_identity(bundle, tmp_path, LINK).key_file == bundle / "client.key"


@pytest.mark.parametrize(
    "content", [b"", b"damaged", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_renewal_leaves_the_bundle(authority: Authority, tmp_path: Path, content: bytes) -> None:
    bundle = write_bundle(tmp_path / "b", authority.issue_link(LINK, utc_now()))
    (tmp_path / identity_files.RENEWED).write_bytes(content)
    assert identity_files.load_identity(bundle, tmp_path, LINK).key_file == bundle / "client.key"


def test_an_identity_of_another_link_is_not_used(authority: Authority, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", authority.issue_link("d-fedcba9876543210", utc_now()))
    with pytest.raises(ConfigurationInvalid):
        identity_files.load_identity(bundle, tmp_path, LINK)
