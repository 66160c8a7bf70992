from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from fleet_server.approvals.keys import ApproverKeyUnusable, make_key, read_key

PASSPHRASE = "a passphrase of words"


def test_a_key_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    path = tmp_path / "mei.pem"
    made = make_key(path, PASSPHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    assert read_key(path, PASSPHRASE).public_hex == made.public_hex
    for wrong in ("another passphrase", ""):
        with pytest.raises(ApproverKeyUnusable, match=r"mei\.pem cannot be opened"):
            read_key(path, wrong)


def test_a_key_is_never_written_over_and_needs_a_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "mei.pem"
    with pytest.raises(ApproverKeyUnusable, match="at least 12"):
        make_key(path, "short")
    make_key(path, PASSPHRASE)
    before = path.read_bytes()
    with pytest.raises(ApproverKeyUnusable, match="cannot be made"):
        make_key(path, PASSPHRASE)
    assert path.read_bytes() == before


def test_what_is_no_key_of_an_approver_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.pem"
    with pytest.raises(ApproverKeyUnusable, match="cannot be read"):
        read_key(path, PASSPHRASE)
    other = ec.generate_private_key(ec.SECP256R1())
    encryption = BestAvailableEncryption(PASSPHRASE.encode())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    with pytest.raises(ApproverKeyUnusable, match="no Ed25519 key"):
        read_key(path, PASSPHRASE)
