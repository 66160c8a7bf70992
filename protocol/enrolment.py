"""What a device and the server's door of enrolment say to each other, over HTTPS, before there is a broker to speak to.

A code is ``SECRET`` and the beginning of the SHA-256 of the authority's certificate, in one: 40 letters and digits of
Crockford's alphabet, in groups of five. Whoever stands between cannot show a certificate of such a fingerprint, and the
secret is only sent to a peer whose certificate leads to it.

A proof is an ECDSA signature over what is asked for, by the key that is asked about, so that a signing request that was
seen elsewhere is worth nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.identifiers import WireDevice

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# 80 bits that can only be guessed at the door, and 120 that can be worked on in peace.
SECRET_CHARS: Final = 16
FINGERPRINT_CHARS: Final = 24
_GROUP: Final = 5
MAX_PEM: Final = 4096
# What people take for other characters of the alphabet.
_READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None, ".": None})

Pem = Annotated[str, Meta(min_length=1, max_length=MAX_PEM)]
Proof = Annotated[str, Meta(pattern=r"^[0-9a-f]{16,200}$")]
SerialNumber = Annotated[str, Meta(min_length=1, max_length=64)]
ModelName = Annotated[str, Meta(min_length=1, max_length=80)]


@dataclass(frozen=True, slots=True)
class Code:
    secret: str
    fingerprint: str

    def __str__(self) -> str:
        whole = self.secret + self.fingerprint
        return "-".join(whole[at : at + _GROUP] for at in range(0, len(whole), _GROUP))


def read_code(text: str) -> Code | None:
    """As people type it: groups, spaces and case do not matter."""
    plain = text.strip().upper().translate(_READ_AS)
    if len(plain) != SECRET_CHARS + FINGERPRINT_CHARS or set(plain) - set(ALPHABET):
        return None
    return Code(plain[:SECRET_CHARS], plain[SECRET_CHARS:])


def fingerprint(certificate_der: bytes) -> str:
    number = int.from_bytes(hashlib.sha256(certificate_der).digest(), "big") >> (256 - 5 * FINGERPRINT_CHARS)
    return "".join(ALPHABET[number >> 5 * at & 31] for at in reversed(range(FINGERPRINT_CHARS)))


def secret_digest(secret: str) -> str:
    """What the server keeps of a code."""
    return hashlib.sha256(secret.encode()).hexdigest()


class EnrolRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``csr``: subject empty. ``proof``: by the request's own key over `enrol_proof_bytes`."""

    secret: Annotated[str, Meta(pattern=f"^[{ALPHABET}]{{{SECRET_CHARS}}}$")]
    serial_number: SerialNumber
    model: ModelName
    csr: Pem
    proof: Proof


class RenewRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``proof``: by the key that has the name now, over `renew_proof_bytes`. It may have the same key's own answer
    again: a device that lost the answer asks once more.
    """

    link: WireDevice
    csr: Pem
    proof: Proof


class Enrolled(msgspec.Struct, frozen=True):
    """``certificate``: with the issuing one behind it. ``enrolment``: the bundle's file of that name."""

    certificate: str
    enrolment: dict[str, object]
    policy: str


class Pending(msgspec.Struct, frozen=True):
    """A person has to let this device in; it asks again."""

    retry_after_s: int


class Renewed(msgspec.Struct, frozen=True):
    certificate: str


def enrol_proof_bytes(secret: str, serial_number: str, model: str, csr_der: bytes) -> bytes:
    return _bound("tillmedic enrol v1", secret.encode(), serial_number.encode(), model.encode(), csr_der)


def renew_proof_bytes(link: str, csr_der: bytes) -> bytes:
    return _bound("tillmedic renew v1", link.encode(), csr_der)


def _bound(what: str, *parts: bytes) -> bytes:
    """Each part by its length, so that none can run into the next."""
    return what.encode() + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
