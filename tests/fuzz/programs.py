"""What comes back to programs of ours from whoever they asked, or was handed to them: an agent from its broker, command
lines from a server, the ceremony of the root from people.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device_agent.adapters.identity_files import checked_chain
from device_agent.core.effects import Arrived
from device_agent.errors import AgentError
from fleet_server.audit import remote
from fleet_server.commands.connection import Connection, ServerRefused
from fleet_server.enrollment.ceremony import CeremonyRefused, add_signature, read_draft
from fleet_server.errors import FleetError
from protocol import codec
from protocol.commands import COMMAND_TYPE
from protocol.session import Welcome
from protocol.signing import ACK_TYPE, FLOW_TYPE, POLICY_TYPE, WELCOME_TYPE, SigningKey, sign
from protocol.stops import STOP_TYPE
from protocol.streams import Ack
from protocol.topics import Down
from tests.device_agent.core.rig import FLOW
from tests.device_agent.core.test_agent import Rig
from tests.device_agent.core.test_command_gate import COMMAND_KEY, OTHER_KEY
from tests.fuzz.documents import POLICY
from tests.fuzz.parsers import Parse, as_file

_SIGNED = {
    Down.WELCOME: (WELCOME_TYPE, OTHER_KEY),
    Down.ACK: (ACK_TYPE, OTHER_KEY),
    Down.FLOW: (FLOW_TYPE, OTHER_KEY),
    Down.COMMAND: (COMMAND_TYPE, COMMAND_KEY),
    Down.TRUST: (POLICY_TYPE, COMMAND_KEY),
}
_KINDS = (*Down,)
_LINK = "d-fuzz-0001"


@cache
def _agent() -> Rig:
    rig = Rig()
    rig.established()
    return rig


def agent_downlink(data: bytes) -> object:
    """The first byte says on which topic it comes, and whether it is signed: as if a key had been stolen."""
    first, rest = data[:1] or b"\0", data[1:]
    kind, is_signed = _KINDS[first[0] % len(_KINDS)], first >= b"\x80"
    payload_type, key = _SIGNED[kind]
    if kind is Down.TRUST and first[0] & 8:
        payload_type = STOP_TYPE
    payload = codec.to_json(sign(payload_type, rest, [key])) if is_signed else rest
    rig = _agent()
    rig.effects.clear()
    return rig.tell(Arrived(kind, payload, codec.JSON))


@cache
def _identity() -> tuple[ec.EllipticCurvePrivateKey, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _LINK)])
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, end).sign(key, hashes.SHA256())
    return key, made.public_bytes(serialization.Encoding.PEM).decode()


def certificate_chain(data: bytes) -> object:
    """What a device was given as its certificate."""
    key, root = _identity()
    try:
        return checked_chain(data.decode("utf-8", "replace"), root, _LINK, key)
    except AgentError as refused:
        return str(refused)


def policy_draft(data: bytes) -> object:
    """Files that people carry from one machine to another: a draft, and the signatures that it has so far."""
    said: list[object] = []
    try:
        said.append(read_draft(as_file(data, "draft.json")))
    except CeremonyRefused as refused:
        said.append(str(refused))
    try:
        said.append(add_signature(POLICY, as_file(data, "signed.json"), SigningKey.from_seed(b"r" * 32)))
    except CeremonyRefused as refused:
        said.append(str(refused))
    return said


def server_answer(data: bytes) -> object:
    """What somebody who poses as the server says to a command line. The first byte: with which status."""
    status = 200 if data[:1] < b"\x80" else 422
    transport = httpx2.MockTransport(lambda asked: httpx2.Response(status, content=data[1:]))
    with httpx2.Client(base_url="http://a", transport=transport) as client:
        said: list[object] = []
        try:
            said.append(remote._answer(client.get("/")))
        except FleetError as refused:
            said.append(str(refused))
        connection = Connection(client)
        for ask in (connection.get, lambda path: list(connection.events(path, 0))):
            try:
                said.append(ask("/"))
            except (ServerRefused, httpx2.HTTPError) as refused:
                said.append(str(refused))
        return said


def _downlink_seeds() -> tuple[bytes, ...]:
    said = (Welcome("0" * 32, False, _agent().ack(), FLOW, [1]), Ack([], "0" * 32, 1), FLOW)
    firsts = (*range(len(_KINDS)), *range(128, 128 + len(_KINDS)), 136)
    return tuple(bytes([first]) + codec.to_json(one) for one in said for first in firsts)


SEEDS: dict[Parse, tuple[bytes, ...]] = {
    agent_downlink: _downlink_seeds(),
    certificate_chain: (_identity()[1].encode(), _identity()[1].encode() * 3),
    policy_draft: (
        codec.to_json(POLICY),
        codec.to_json(sign(POLICY_TYPE, codec.to_json(POLICY), [SigningKey.from_seed(b"r" * 32)])),
        b'{"payloadType":"a","payload":"!","signatures":[]}',
        b'{"payloadType":"a","payload":"A","signatures":[]}',
    ),
    server_answer: (
        b'\0{"items":[],"next":null}',
        b'\xff{"code":"a","detail":"b"}',
        b"\0[1]",
        b"\xff<html>",
        b"\0\xff",
    ),
}
