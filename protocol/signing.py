"""DSSE envelopes with Ed25519: sign, verify, name keys. What is signed are the pre-authentication bytes, never a
re-serialisation (DSSE v1.0.2). Keys are handed in; nothing here reads a file or makes randomness.

Invariant: ``verify`` answers only ids of keys that were handed in and whose signature over exactly this payload holds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

from protocol import codec
from protocol.errors import Malformed
from protocol.identifiers import KeyId, WireMillis, WireSha256

ACK_TYPE = "application/vnd.tillmedic.ack+json"
WELCOME_TYPE = "application/vnd.tillmedic.welcome+json"
FLOW_TYPE = "application/vnd.tillmedic.flow+json"
POLICY_TYPE = "application/vnd.tillmedic.policy+json"
MAX_SIGNATURES = 8

WireKeyId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
WirePublicKey = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: WireKeyId
    sig: Annotated[str, Meta(max_length=128)]


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"payload_type": "payloadType"}):
    payload_type: Annotated[str, Meta(max_length=120)]
    payload: Annotated[str, Meta(max_length=128 * 1024)]
    signatures: Annotated[list[Signature], Meta(min_length=1, max_length=MAX_SIGNATURES)]


class Approver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``name``: the person's account. ``tenant``: for which one the person approves; empty: for all."""

    name: Annotated[str, Meta(max_length=80)]
    public: WirePublicKey
    tenant: Annotated[str, Meta(max_length=64)] = ""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which keys may do what; signed by the root. A device never goes back to a lower ``version``.

    All keys are Ed25519: what a key can do is said here and never by the message that it signed. ``roots``: of these
    keys ``root_threshold`` sign the next policy; absent: those who signed this one. ``lift_threshold``: approvers that
    end an emergency stop. ``merchant_consent``: whether a merchant's code may stand for an approver in class 1.
    ``artifact_roots``: by tenant, the SHA-256 of the first root of its repository of software.
    ``clock_ms``: when whoever signed a policy said that this is the time. A terminal that takes it with a clock that is
    ahead of it sets its clock back, once for each such word; what people allowed from before it on holds no more. 0:
    nobody has ever said so.
    """

    version: Annotated[int, Meta(ge=1, le=2**53)]
    issued_at_ms: WireMillis
    command_keys: Annotated[list[WirePublicKey], Meta(min_length=1, max_length=8)]
    server_keys: Annotated[list[WirePublicKey], Meta(min_length=1, max_length=8)]
    approvers: Annotated[list[Approver], Meta(max_length=256)]
    roots: Annotated[list[WirePublicKey], Meta(max_length=MAX_SIGNATURES)] = []
    root_threshold: Annotated[int, Meta(ge=1, le=MAX_SIGNATURES)] = 1
    break_glass_keys: Annotated[list[WirePublicKey], Meta(max_length=4)] = []
    lift_threshold: Annotated[int, Meta(ge=1, le=MAX_SIGNATURES)] = 1
    merchant_consent: bool = True
    artifact_roots: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=64)], WireSha256], Meta(max_length=256)
    ] = {}
    clock_ms: WireMillis = 0


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its name: the first 128 bits of the SHA-256 of its raw public key."""

    private: Ed25519PrivateKey
    id: KeyId

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """``seed``: 32 secret random bytes."""
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(private, key_id(private.public_key()))

    @property
    def public_hex(self) -> str:
        return self.private.public_key().public_bytes_raw().hex()


@dataclass(frozen=True, slots=True)
class Opened:
    """A verified envelope: its payload bytes and who signed it."""

    payload: bytes
    signers: frozenset[KeyId]


def key_id(public: Ed25519PublicKey) -> KeyId:
    return KeyId(hashlib.sha256(public.public_bytes_raw()).hexdigest()[:32])


def public_keys(hexes: Iterable[str]) -> dict[KeyId, Ed25519PublicKey]:
    keys = [Ed25519PublicKey.from_public_bytes(bytes.fromhex(text)) for text in hexes]
    return {key_id(key): key for key in keys}


def key_ids(hexes: Iterable[str]) -> list[KeyId]:
    """The names of keys given in hexadecimal, in their order."""
    return [KeyId(hashlib.sha256(bytes.fromhex(text)).hexdigest()[:32]) for text in hexes]


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, keys: Iterable[SigningKey]) -> Envelope:
    signed = pae(payload_type, payload)
    signatures = [Signature(key.id, base64.b64encode(key.private.sign(signed)).decode()) for key in keys]
    return Envelope(payload_type, base64.b64encode(payload).decode(), signatures)


def verify(envelope: Envelope, payload_type: str, keys: Mapping[KeyId, Ed25519PublicKey]) -> Opened | Malformed:
    """The payload and those of ``keys`` that signed it; ``Malformed`` when the type differs or no key did."""
    if envelope.payload_type != payload_type:
        return Malformed("payload_type", f"expected {payload_type}, came {envelope.payload_type[:80]!r}")
    try:
        payload = base64.b64decode(envelope.payload, validate=True)
    except (binascii.Error, ValueError):
        return Malformed("not_decodable", "payload is not base64")
    signed = pae(payload_type, payload)
    signers = frozenset(
        KeyId(one.keyid)
        for one in envelope.signatures
        if (key := keys.get(KeyId(one.keyid))) is not None and _holds(key, one.sig, signed)
    )
    if not signers:
        return Malformed("signature", "no known key signed this")
    return Opened(payload, signers)


def open_envelope(plain: bytes, payload_type: str, keys: Mapping[KeyId, Ed25519PublicKey]) -> Opened | Malformed:
    """``verify`` for an envelope still in JSON."""
    envelope = codec.from_json(plain, Envelope)
    return envelope if isinstance(envelope, Malformed) else verify(envelope, payload_type, keys)


def _holds(key: Ed25519PublicKey, sig: str, signed: bytes) -> bool:
    try:
        key.verify(base64.b64decode(sig, validate=True), signed)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
