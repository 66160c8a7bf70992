from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.redaction import HitKind, scrub
from tests.protocol.redaction.card_samples import FORMS, card_numbers, closed_with_check_digit

if TYPE_CHECKING:
    from collections.abc import Callable

WITH_NUMBER_INSIDE = [
    "4111111111111111", "4111 1111 1111 1111", "%34%31%31", "62 00 12 34", "5A08", "D2912", ";", "=", "^", "F52=",
    "pin=", "cvv 1", "\n", "卡号", "0x", "UEFOOjQx", "\u200b", "…",
]  # fmt: skip
awkward_texts = st.one_of(
    st.text(max_size=80),
    st.text("0123456789ABCDEFabcdef =;^?%\\xu:-._/+\n…[]PAN", max_size=120),
    st.lists(st.sampled_from(WITH_NUMBER_INSIDE), max_size=12).map("".join),
)


@pytest.mark.parametrize("form", FORMS)
@given(number=card_numbers())
@settings(max_examples=15, deadline=None)
def test_a_card_number_survives_in_no_form(form: str, number: str) -> None:
    written = FORMS[form](number)
    scrubbed = scrub(written)
    assert scrubbed.hits, written
    assert number not in scrubbed.text
    assert written not in scrubbed.text


@given(awkward_texts)
@settings(max_examples=300, deadline=None)
def test_no_text_raises_and_scrubbing_twice_changes_nothing_more(text: str) -> None:
    once = scrub(text)
    assert scrub(once.text).text == once.text
    assert scrub(once.text).hits == ()


@given(number=card_numbers())
@settings(max_examples=50, deadline=None)
def test_a_masked_number_keeps_its_last_four_digits_and_no_more(number: str) -> None:
    assert scrub(f"card {number} ok").text == f"card [PAN …{number[-4:]}] ok"


def test_text_without_card_data_is_passed_on_as_it_is() -> None:
    line = "2026-03-02 10:11:12.123 I PosApp: sale ok amt=1200 trace=000123 ip=192.168.100.200:8583"
    assert scrub(line).text is line


def test_several_numbers_in_a_line_are_each_masked() -> None:
    scrubbed = scrub("from 4111111111111111 to 5555555555554444")
    assert scrubbed.text == "from [PAN …1111] to [PAN …4444]"
    assert [hit.kind for hit in scrubbed.hits] == [HitKind.PAN, HitKind.PAN]


@pytest.mark.parametrize(
    ("text", "expected", "kind"),
    [
        ("PIN=1234 ok", "PIN=[PIN] ok", HitKind.PIN),
        ('{"pin": "123456"}', '{"pin": "[PIN]"}', HitKind.PIN),
        ("密码：123456", "密码：[PIN]", HitKind.PIN),
        ("pinBlock: 5AEF7AC86D66C7A6", "pinBlock: [PIN]", HitKind.PIN),
        ("DE52=5A EF 7A C8 6D 66 C7 A6", "DE52=[PIN]", HitKind.PIN),
        ("cvv2=123 exp", "cvv2=[CVV] exp", HitKind.CVV),
        ('"cvc":"1234"', '"cvc":"[CVV]"', HitKind.CVV),
        ("安全码：123", "安全码：[CVV]", HitKind.CVV),
        ("TPK=0123456789ABCDEFFEDCBA9876543210", "TPK=[KEY]", HitKind.KEY),
        ("F64=0123456789ABCDEF", "F64=[KEY]", HitKind.KEY),
        ("扫码 134567890123456789", "扫码 [PAYMENT_CODE]", HitKind.PAYMENT_CODE),
        ("id 11010519491231002X", "id [ID_CARD]", HitKind.ID_CARD),
        ("5F200A5A48414E472F53414E209F0702FF00", "5F200A[HOLDER]9F0702FF00", HitKind.HOLDER),
    ],
)
def test_sensitive_data_is_dropped_whole(text: str, expected: str, kind: HitKind) -> None:
    scrubbed = scrub(text)
    assert scrubbed.text == expected
    assert [hit.kind for hit in scrubbed.hits] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "AT+CPIN?\r\n+CPIN: READY",
        "drawer pin 3 level high",
        "CVN check failed, code 59",
        "id 510105194912310021",  # the check digit is wrong
        "RRN 633214567895 trace 000123",
        "550e8400-e29b-41d4-a716-446655440000",
        "order_no=2026112810203040506070",
        "card 622200******1234",
        "eth0: 6222 1024 2048 77 0 0 0",
        "56781234\n2026-11-28 10:00:00 next line",
    ],
)
def test_what_only_looks_similar_is_kept(text: str) -> None:
    assert scrub(text).text == text


def test_a_number_known_to_be_a_card_is_masked_even_without_a_valid_check_digit() -> None:
    number = "6013820000000000000"
    assert scrub(f"no {number}").hits == ()
    assert scrub(f"卡号：{number}").text == "卡号：[PAN …0000]"


def test_fields_of_an_iso_8583_message_are_dropped_by_their_bitmap() -> None:
    # MTI 0200, fields 2, 3, 4, 11, 35, 52, 64.
    body = (
        "0200" + "7020000020001001" + "164111111111111111" + "000000" + "000000001200" + "000123"
        + "374111111111111111D29122011234567890120" + "1122334455667788" + "99AABBCCDDEEFF00"
    )  # fmt: skip
    text = scrub("6000030000602200000000" + body).text
    assert "411111" not in text
    assert "1122334455667788" not in text
    assert "99AABBCCDDEEFF00" not in text
    assert "000000001200000123" in text


@pytest.mark.parametrize(
    "hostile",
    [
        "1 " * 50_000, "62 " * 30_000, "4" * 100_000, "1\n" * 50_000, "A1" * 50_000, "5A08" * 25_000, "pin=" * 25_000,
        "%36" * 30_000, "=1" * 50_000, ";12345678901234567890=" * 5_000, "%B1234567890123^" * 6_000, "\\u0036" * 16_000,
        "MTIzNDU2" * 12_000, "0x62," * 20_000, "card " + " " * 100_000, "a" * 100_000,
    ],
)  # fmt: skip
def test_hostile_text_costs_no_more_than_its_length(hostile: str) -> None:
    def cpu_s(text: str) -> float:
        """The least of three: a machine that does other things makes any single one longer."""
        taken = []
        for _ in range(3):
            started = time.process_time()
            scrub(text)
            taken.append(time.process_time() - started)
        return min(taken)

    quarter, whole = cpu_s(hostile[: len(hostile) // 4]), cpu_s(hostile)
    # Quadratic work would be sixteen times the quarter's; half a second of grace swallows noise.
    assert whole < 8 * quarter + 0.5


def test_identifiers_and_clocks_are_rarely_taken_for_cards() -> None:
    draw = random.Random(7)

    def digits(count: int) -> str:
        return "".join(draw.choices("0123456789", k=count))

    makers: dict[str, Callable[[], str]] = {
        "imei": lambda: closed_with_check_digit(draw.choice(("35", "86", "01", "99")) + digits(12)),
        "iccid": lambda: closed_with_check_digit("8986" + digits(14)),
        "imsi": lambda: "460" + digits(12),
        "time": lambda: f"20{draw.randrange(20, 30)}{draw.randrange(1, 13):02}{draw.randrange(1, 29):02}{digits(6)}",
        "epoch_ms": lambda: "17" + digits(11),
        "epoch_us": lambda: "17" + digits(14),
        "epoch_ns": lambda: "17" + digits(17),
        "merchant": lambda: draw.choice(("898", "102", "826")) + digits(12),
        "order": lambda: "2026" + digits(16),
        "tusn": lambda: "00000403" + digits(12),
    }
    for name, make in makers.items():
        false_hits = sum(bool(scrub(f"id {make()} end").hits) for _ in range(500))
        assert false_hits == 0, name
    random_16 = sum(bool(scrub(f"id {digits(16)} end").hits) for _ in range(2000))
    assert random_16 / 2000 < 0.06
