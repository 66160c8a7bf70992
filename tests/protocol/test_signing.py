from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec
from protocol.errors import Malformed
from protocol.signing import Envelope, Opened, SigningKey, open_envelope, public_keys, sign, verify

KIND = "application/vnd.tillmedic.test+json"
ALICE, BOB, EVE = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
KNOWN = public_keys([ALICE.public_hex, BOB.public_hex])


@given(payload=st.binary(max_size=300))
def test_signed_payload_opens_unchanged_with_its_signers(payload: bytes) -> None:
    assert verify(sign(KIND, payload, [ALICE, BOB]), KIND, KNOWN) == Opened(payload, frozenset({ALICE.id, BOB.id}))


@given(payload=st.binary(min_size=1, max_size=60), data=st.data())
def test_changed_payload_is_not_opened(payload: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(payload) - 1))
    changed = payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]
    envelope = msgspec.structs.replace(sign(KIND, payload, [ALICE]), payload=base64.b64encode(changed).decode())
    assert isinstance(verify(envelope, KIND, KNOWN), Malformed)


def test_signature_of_one_kind_does_not_serve_for_another() -> None:
    envelope = sign("application/other", b"x", [ALICE])
    assert isinstance(verify(envelope, KIND, KNOWN), Malformed)
    relabelled = msgspec.structs.replace(envelope, payload_type=KIND)
    assert isinstance(verify(relabelled, KIND, KNOWN), Malformed)


def test_unknown_signer_is_not_named_and_alone_opens_nothing() -> None:
    assert verify(sign(KIND, b"x", [EVE, ALICE]), KIND, KNOWN) == Opened(b"x", frozenset({ALICE.id}))
    assert isinstance(verify(sign(KIND, b"x", [EVE]), KIND, KNOWN), Malformed)


def test_known_key_id_over_a_foreign_signature_is_refused() -> None:
    stolen = sign(KIND, b"x", [EVE]).signatures[0].sig
    forged = Envelope(
        KIND, base64.b64encode(b"x").decode(), [type(sign(KIND, b"", [ALICE]).signatures[0])(ALICE.id, stolen)]
    )
    assert isinstance(verify(forged, KIND, KNOWN), Malformed)


def test_one_key_twice_counts_once() -> None:
    opened = verify(sign(KIND, b"x", [ALICE, ALICE]), KIND, KNOWN)
    assert isinstance(opened, Opened)
    assert len(opened.signers) == 1


@pytest.mark.parametrize("plain", [b"", b"{}", b"[]", b'{"payloadType":"x","payload":"!","signatures":[]}'])
def test_what_is_no_envelope_is_malformed(plain: bytes) -> None:
    assert isinstance(open_envelope(plain, KIND, KNOWN), Malformed)


def test_envelope_in_json_has_the_field_names_of_dsse() -> None:
    assert codec.to_json(sign(KIND, b"{}", [ALICE])).startswith(b'{"payloadType":"application/vnd.tillmedic.test+json"')
