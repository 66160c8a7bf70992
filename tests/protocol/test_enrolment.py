from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.enrolment import (
    ALPHABET,
    FINGERPRINT_CHARS,
    SECRET_CHARS,
    Code,
    enrol_proof_bytes,
    fingerprint,
    read_code,
    renew_proof_bytes,
)

CODES = st.builds(
    Code,
    st.text(ALPHABET, min_size=SECRET_CHARS, max_size=SECRET_CHARS),
    st.text(ALPHABET, min_size=FINGERPRINT_CHARS, max_size=FINGERPRINT_CHARS),
)


@given(CODES)
def test_a_code_is_read_back_as_it_was_shown_and_as_people_type_it(code: Code) -> None:
    assert read_code(str(code)) == code
    typed = f"  {str(code).lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')} "
    assert read_code(typed) == code


@given(st.text(max_size=80))
def test_whatever_is_typed_is_a_code_or_none(text: str) -> None:
    read = read_code(text)
    assert read is None or read_code(str(read)) == read


def test_the_fingerprint_is_the_beginning_of_the_sha_256() -> None:
    bits = f"{int.from_bytes(hashlib.sha256(b'certificate').digest(), 'big'):0256b}"
    assert [ALPHABET.index(one) for one in fingerprint(b"certificate")] == [
        int(bits[at : at + 5], 2) for at in range(0, 5 * FINGERPRINT_CHARS, 5)
    ]
    assert 5 * SECRET_CHARS >= 80
    assert 5 * FINGERPRINT_CHARS >= 120


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (enrol_proof_bytes("S", "AB", "C", b"d"), enrol_proof_bytes("S", "A", "BC", b"d")),
        (enrol_proof_bytes("S", "A", "B", b"cd"), enrol_proof_bytes("S", "A", "Bc", b"d")),
        (renew_proof_bytes("ab", b"c"), renew_proof_bytes("a", b"bc")),
        (renew_proof_bytes("a", b"b"), enrol_proof_bytes("", "", "a", b"b")),
    ],
)
def test_no_part_of_what_is_signed_runs_into_the_next(one: bytes, other: bytes) -> None:
    assert one != other
