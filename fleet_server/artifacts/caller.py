"""Which device asks for software: a link in service, by its certificate and a proof of that one's key."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlmodel import Session

from fleet_server.artifacts.errors import DeviceUnknown
from fleet_server.devices.models import Device
from fleet_server.enrollment.enrolment_rows import EnrolmentRows, find_link
from fleet_server.kit.times import to_ms
from protocol.artifacts import PASS_SPREAD_MS, DevicePass, pass_bytes, read_pass
from protocol.errors import Malformed

# The library's own are no ValueErrors.
_UNREADABLE = (
    ValueError,
    TypeError,
    binascii.Error,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
)


def device_of(session: Session, header: str, ca_file: Path, now: datetime) -> Device:
    """Raises ``DeviceUnknown``."""
    shown = read_pass(header)
    if isinstance(shown, Malformed):
        raise DeviceUnknown(shown.detail)
    if abs(shown.at_ms - to_ms(now)) > PASS_SPREAD_MS:
        raise DeviceUnknown("the pass is not of this hour")
    serial = _judge(shown, ca_file.read_bytes(), now)
    link = find_link(session, shown.link)
    if link is None or not EnrolmentRows(session, link.tenant_id).has_certificate(serial):
        raise DeviceUnknown("this device is not in service here")
    return link


def _judge(shown: DevicePass, ca_pem: bytes, now: datetime) -> str:
    """The serial number of the certificate that the pass was proved by."""
    try:
        leaf, issuing = (x509.load_der_x509_certificate(base64.b64decode(one, validate=True)) for one in shown.chain)
        root = x509.load_pem_x509_certificate(ca_pem)
        leaf.verify_directly_issued_by(issuing)
        issuing.verify_directly_issued_by(root)
        names = [str(one.value) for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        key = leaf.public_key()
        if names != [shown.link] or not isinstance(key, ec.EllipticCurvePublicKey):
            raise DeviceUnknown("the certificate is another device's")
        key.verify(bytes.fromhex(shown.proof), pass_bytes(shown.link, shown.at_ms), ec.ECDSA(hashes.SHA256()))
    except _UNREADABLE as error:
        raise DeviceUnknown("the certificate or its proof does not hold") from error
    if any(not one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in (leaf, issuing)):
        raise DeviceUnknown("the certificate does not hold now: renew it first")
    return f"{leaf.serial_number:x}"
