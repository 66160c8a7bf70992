"""What people and the root sign, as bytes that must not change, each signature checked by a program that is not ours.

The private keys are those of RFC 8032 section 7.1, tests 1 to 3; OpenSSL computes and checks Ed25519 by itself, over
pre-authentication bytes that this test writes down from DSSE's specification.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from protocol import codec
from protocol.authorisations import Artifact, Authorisation, AuthorisationKind, Grant
from protocol.commands import AUTHORISATION_TYPE, COMMAND_TYPE, Command, DangerClass, TargetProof
from protocol.signing import POLICY_TYPE, Approver, Policy, SigningKey, sign
from protocol.stops import STOP_TYPE, StopOrder
from tests.support.required import missing

ONE, TWO, THREE = (
    SigningKey.from_seed(bytes.fromhex(seed))
    for seed in (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    )
)
EXECUTION = "01890000-0000-7000-8000-000000000001"
PERMIT = "01890000-0000-7000-8000-0000000000aa"
PUBLIC = {
    "one": b"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "two": b"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    "three": b"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
}
COMMAND = Command(
    version=1,
    audience="dev-0001",
    tenant="default",
    execution=EXECUTION,
    action="app.restart",
    danger_class=DangerClass.CHANGES,
    params={},
    issued_at_ms=1,
    not_after_ms=2,
    counter=3,
    nonce="0f" * 16,
    requester="sue",
)
CASES: list[tuple[str, str, object, bytes]] = [
    (
        "approval",
        AUTHORISATION_TYPE,
        Authorisation(
            id=PERMIT,
            tenant="default",
            kind=AuthorisationKind.APPROVAL,
            requester="sue",
            grants=[Grant("app.update", {"channel": "stable"})],
            danger_class=DangerClass.SOFTWARE,
            not_before_ms=1,
            not_after_ms=2,
            max_count=1,
            targets=["dev-0001"],
            execution=EXECUTION,
            artifact=Artifact("apps/pay-2.4.1.pkg", 1000, "ab" * 32),
        ),
        b'{"id":"01890000-0000-7000-8000-0000000000aa","tenant":"default","kind":"approval","requester":"sue",'
        b'"grants":[{"action":"app.update","params":{"channel":"stable"}}],"danger_class":2,"not_before_ms":1,'
        b'"not_after_ms":2,"max_count":1,"targets":["dev-0001"],"execution":"01890000-0000-7000-8000-000000000001",'
        b'"artifact":{"path":"apps/pay-2.4.1.pkg","length":1000,"sha256":"' + b"ab" * 32 + b'"}}',
    ),
    (
        "shift permit",
        AUTHORISATION_TYPE,
        Authorisation(
            id=PERMIT,
            tenant="default",
            kind=AuthorisationKind.SHIFT_PERMIT,
            requester="lead",
            grants=[Grant("app.restart"), Grant("clock.sync")],
            danger_class=DangerClass.CHANGES,
            not_before_ms=1,
            not_after_ms=2,
            max_count=20,
            max_per_device=2,
            target_root="cd" * 32,
            target_count=1000,
            reason="night shift",
        ),
        b'{"id":"01890000-0000-7000-8000-0000000000aa","tenant":"default","kind":"shift_permit","requester":"lead",'
        b'"grants":[{"action":"app.restart"},{"action":"clock.sync"}],"danger_class":1,"not_before_ms":1,'
        b'"not_after_ms":2,"max_count":20,"max_per_device":2,"target_root":"' + b"cd" * 32 + b'","target_count":1000,'
        b'"reason":"night shift"}',
    ),
    (
        "command under a group's permit",
        COMMAND_TYPE,
        msgspec.structs.replace(
            COMMAND, authorisation="{}", authorisation_sha256="ef" * 32, target_proof=TargetProof(1, ["12" * 32])
        ),
        b'{"version":1,"audience":"dev-0001","tenant":"default","execution":"01890000-0000-7000-8000-000000000001",'
        b'"action":"app.restart","danger_class":1,"params":{},"issued_at_ms":1,"not_after_ms":2,"counter":3,'
        b'"nonce":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","authorisation_sha256":"' + b"ef" * 32 + b'","authorisation":"{}",'
        b'"target_proof":{"index":1,"path":["' + b"12" * 32 + b'"]},"requester":"sue"}',
    ),
    (
        "command that asks for the merchant's consent",
        COMMAND_TYPE,
        msgspec.structs.replace(COMMAND, consent=True),
        (
            b'{"version":1,"audience":"dev-0001","tenant":"default","execution":"01890000-0000-7000-8000-000000000001",'
            b'"action":"app.restart","danger_class":1,"params":{},"issued_at_ms":1,"not_after_ms":2,"counter":3,'
            b'"nonce":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","requester":"sue","consent":true}'
        ),
    ),
    (
        "stop",
        STOP_TYPE,
        StopOrder(tenant="default", epoch=1, issued_at_ms=2, reason="drill"),
        b'{"tenant":"default","epoch":1,"issued_at_ms":2,"reason":"drill"}',
    ),
    (
        "lift",
        STOP_TYPE,
        StopOrder(tenant="default", epoch=1, issued_at_ms=2, lifts=True),
        b'{"tenant":"default","epoch":1,"issued_at_ms":2,"lifts":true}',
    ),
    (
        "policy with the next root",
        POLICY_TYPE,
        Policy(
            version=2,
            issued_at_ms=1,
            command_keys=[ONE.public_hex],
            server_keys=[TWO.public_hex],
            approvers=[Approver("ann", THREE.public_hex, tenant="default")],
            roots=["ab" * 32],
            root_threshold=1,
            break_glass_keys=["cd" * 32],
            lift_threshold=2,
            merchant_consent=False,
        ),
        b'{"version":2,"issued_at_ms":1,"command_keys":["'
        + PUBLIC["one"]
        + b'"],"server_keys":["'
        + PUBLIC["two"]
        + b'"],'
        b'"approvers":[{"name":"ann","public":"' + PUBLIC["three"] + b'","tenant":"default"}],'
        b'"roots":["' + b"ab" * 32 + b'"],"break_glass_keys":["' + b"cd" * 32 + b'"],"lift_threshold":2,'
        b'"merchant_consent":false}',
    ),
]


@pytest.fixture(scope="module")
def openssl() -> str:
    return shutil.which("openssl") or missing("openssl is not installed")


@pytest.mark.parametrize(("name", "payload_type", "document", "wire"), CASES, ids=[case[0] for case in CASES])
def test_document_stays_as_it_is_and_its_signatures_hold_for_openssl(
    name: str, payload_type: str, document: object, wire: bytes, openssl: str, tmp_path: Path
) -> None:
    assert codec.to_json(document) == wire, name
    assert codec.from_json(wire, type(document)) == document
    envelope = sign(payload_type, wire, [ONE, TWO])
    assert base64.b64decode(envelope.payload) == wire
    signed = b"DSSEv1 " + f"{len(payload_type)} {payload_type} {len(wire)} ".encode() + wire
    for signature, public in zip(envelope.signatures, (PUBLIC["one"], PUBLIC["two"]), strict=True):
        sig = base64.b64decode(signature.sig)
        assert holds(openssl, tmp_path, public, signed, sig)
        assert not holds(openssl, tmp_path, public, signed + b" ", sig)


def holds(openssl: str, folder: Path, public: bytes, signed: bytes, sig: bytes) -> bool:
    """By OpenSSL's own word. The prefix makes a SubjectPublicKeyInfo of the raw key (RFC 8410, section 4)."""
    key = folder / "key.der"
    key.write_bytes(bytes.fromhex("302a300506032b6570032100" + public.decode()))
    (folder / "signed").write_bytes(signed)
    (folder / "sig").write_bytes(sig)
    order = [openssl, "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", str(key), "-rawin"]
    run = subprocess.run(
        [*order, "-in", str(folder / "signed"), "-sigfile", str(folder / "sig")], capture_output=True, check=False
    )
    assert b"Signature Verif" in run.stdout + run.stderr, run.stderr
    return run.returncode == 0
