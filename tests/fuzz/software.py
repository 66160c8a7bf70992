"""Parsers of what installs and repairs: a device's pass, a target's facts, playbooks, bundles of a terminal's files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet_server.artifacts.caller import _judge
from fleet_server.artifacts.errors import DeviceUnknown
from protocol import codec
from protocol.artifacts import CUSTOM, PASS_SCHEME, DevicePass, facts_of, pass_header, read_pass, refuses
from protocol.bundles.archive import MAX_TOTAL_BYTES, Data, Packer, Reader
from protocol.errors import Malformed
from protocol.playbooks.checking import PlaybookInvalid
from protocol.playbooks.reading import read_playbook, shipped
from tests.fuzz.parsers import as_text

_NOW = datetime(2026, 3, 1, tzinfo=UTC)
_PIECE = 999


@cache
def _authority() -> bytes:
    """A certificate that signs itself, as PEM."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    begun = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    lasting = begun.serial_number(1).not_valid_before(_NOW).not_valid_after(_NOW + timedelta(days=1))
    return lasting.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def device_pass(data: bytes) -> object:
    """A header as it came, and the bytes as its chain's first certificate."""
    header = as_text(data)
    answers: list[object] = []
    for shown in (read_pass(header), read_pass(PASS_SCHEME + header), codec.from_json(data, DevicePass)):
        if isinstance(shown, Malformed):
            answers.append(shown)
            continue
        try:
            answers.append(_judge(shown, _authority(), _NOW))
        except DeviceUnknown as refused:
            answers.append(str(refused))
    return answers


def target_facts(data: bytes) -> object:
    said = codec.from_json(data, dict[str, object])
    facts = facts_of({CUSTOM: said} if isinstance(said, dict) else said)
    return facts if isinstance(facts, Malformed) else refuses(facts, "TM-E30", "1.2.3")


def playbook(data: bytes) -> object:
    try:
        return read_playbook(as_text(data), "typed")
    except PlaybookInvalid as refused:
        return str(refused)


def bundle_archive(data: bytes) -> object:
    """Whatever comes, no more is passed on than a bundle may hold."""
    reader, passed = Reader(), 0
    for start in range(0, len(data), _PIECE):
        passed += sum(
            len(event.octets) for event in reader.feed(data[start : start + _PIECE]) if isinstance(event, Data)
        )
    if passed > MAX_TOTAL_BYTES:
        raise AssertionError(f"{passed} bytes were passed on")
    return reader.finish()


def pass_seeds() -> tuple[bytes, ...]:
    shown = DevicePass("d-fuzz-0001", 1, ["AAAA", "AAAA"], "0" * 16)
    return pass_header(shown).encode(), codec.to_json(shown), _judged_seed()


def _judged_seed() -> bytes:
    """Its chain is read to the end: certificates, but of nobody here."""
    leaf = _authority().decode().split("-----")[2].replace("\n", "")
    return codec.to_json(DevicePass("d-fuzz-0001", 1, [leaf, leaf], "0" * 16))


def playbook_seeds() -> tuple[bytes, ...]:
    folder = resources.files("protocol.playbooks").joinpath("shipped")
    return tuple(folder.joinpath(f"{name}.toml").read_bytes() for name in list(shipped())[:2])


def bundle_seeds() -> tuple[bytes, ...]:
    packer = Packer()
    parts = [packer.begin("manifest.json", 2), packer.data(b"{}"), packer.end(), packer.finish()]
    return (b"".join(parts),)


def facts_seeds() -> tuple[bytes, ...]:
    facts = {"kind": "agent", "version": "1.2.3", "models": ["TM-E30"], "from_version": "1.0"}
    return msgspec.json.encode(facts), msgspec.json.encode({**facts, "version": "9" * 9})
