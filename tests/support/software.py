"""A tenant's repository of software with its keys at hand, a real signer behind it, and devices' passes to its door."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fleet_server.artifacts.ceremony import Ceremony
from fleet_server.artifacts.metadata import Offices, sha256_of
from fleet_server.artifacts.publishing import Published, publish
from fleet_server.artifacts.store import Store
from fleet_server.issuer.client import sign_proof
from fleet_server.kit.times import to_ms
from fleet_server.signer.keys import KeyFiles
from fleet_server.signer.service import Caps, Signer, Trust
from fleet_server.signer.settings import SignerSettings
from fleet_server.signer.state import SignerState
from protocol.artifacts import ArtifactKind, DevicePass, TargetFacts, pass_bytes, pass_header
from protocol.policy import Root
from protocol.signing import SigningKey
from tests.support.signing import ROOT_KEY, policy_of

TENANT = "default"
ROOT_1, ROOT_2, ROOT_3 = (SigningKey.from_seed(bytes([n]) * 32) for n in (101, 102, 103))
RELEASE_1, RELEASE_2 = (SigningKey.from_seed(bytes([n]) * 32) for n in (111, 112))
STRANGER = SigningKey.from_seed(b"x" * 32)
COMMAND = SigningKey.from_seed(b"c" * 32)
ALL = (ROOT_1, ROOT_2, RELEASE_1, RELEASE_2)
APP = "apps/payment.bin"
FACTS = TargetFacts(ArtifactKind.PAYMENT_APPLICATION, "5.5.0", ["TM-E30"], "5.0.0")


@dataclass
class Software:
    """``folder``: everything of it lies below. ``now``: may be moved."""

    folder: Path
    now: datetime
    keys: tuple[SigningKey, ...] = ALL
    state: SignerState = field(default_factory=lambda: SignerState(None, 0))

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ceremony = Ceremony(self.folder / "ceremony")
        self.store = Store(self.folder / "store")
        self.signer = self.signer_for({})
        self.begin()
        self.sign()
        self.pin = sha256_of(self.ceremony.roots()[0])
        self.signer = self.signer_for({TENANT: self.pin})

    def signer_for(self, pins: dict[str, str]) -> Signer:
        policy = msgspec.structs.replace(policy_of(COMMAND, []), artifact_roots=pins)
        trust = Trust(Root.of_enrolment(ROOT_KEY.public_hex), policy)
        caps = Caps.of(SignerSettings(self.folder, ""))
        return Signer(COMMAND, trust, self.state, caps, files=KeyFiles(self.folder / "command.seed"))

    def offices(self, *, following: bool = False) -> Offices:
        online = self.signer.release_keys(following=following)
        root = [one.public_hex for one in (ROOT_1, ROOT_2, ROOT_3)]
        release = [one.public_hex for one in (RELEASE_1, RELEASE_2)]
        return Offices(root, release, online.snapshot, online.timestamp)

    def begin(self) -> None:
        self.ceremony.begin(self.offices(), self.now)

    def sign(self, keys: tuple[SigningKey, ...] | None = None) -> None:
        for key in keys or self.keys:
            if self.ceremony.pending():
                self._sign_if_asked(key)

    def _sign_if_asked(self, key: SigningKey) -> None:
        from fleet_server.artifacts.errors import ArtifactsRefused

        try:
            self.ceremony.sign(key)
        except ArtifactsRefused as error:
            assert "nothing here waits" in str(error)  # noqa: PT017 - of two lists one may be signed already

    def add(self, content: bytes, path: str = APP, facts: TargetFacts = FACTS) -> None:
        source = self.folder / "source.bin"
        source.write_bytes(content)
        self.ceremony.add(source, path, facts, self.now)

    def publish(self) -> Published:
        self.now += timedelta(seconds=5)
        return publish(self.store, self.ceremony, TENANT, self.pin, self.signer, self.now)

    def release(self, content: bytes, path: str = APP, facts: TargetFacts = FACTS) -> Published:
        self.add(content, path, facts)
        self.sign()
        return self.publish()


def pass_of(link: str, key: ec.EllipticCurvePrivateKey, chain_pem: bytes, now: datetime) -> str:
    """The header by which a device shows who it is."""
    chain = [
        base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in x509.load_pem_x509_certificates(chain_pem)
    ]
    proof = sign_proof(key, pass_bytes(link, to_ms(now)))
    return pass_header(DevicePass(link, to_ms(now), chain, proof))
