"""Texts that are hard on a scan: planted numbers in every form, cut and broken, among what nearly looks like them."""

from __future__ import annotations

import random
from itertools import chain, repeat

from hypothesis import strategies as st

from tests.protocol.redaction.card_samples import FORMS, card_numbers, closed_with_check_digit

ATOMS = [
    "\n", "\r\n", "  \n  ", " ", "  ", "-", ".", "_", "/", ":", ",", "=", "^", ";", "?", "%", "+", "\\", "\\x",
    "0x", "&#5", "PIN", "pin=", "PIN BLOCK", "cvv", "CVV2: ", "F52", "DE 52 ", "BIT 52", "TMK", "KEK: ", "密码",
    "密码块", "安全码", "卡校验码：", "：", "　", "１", "\u200b", "\x00", "62", "00", "12", "5A08", "57", "99",
    "9F26", "D", "F", "5E", "4", "41 ", "ed\n10:11:12", "trace=000123\n", "k=", "card", "卡号：", "ref ", "'",
    '"', "[", "]", "%36", "\\u0036", "&#54;", "eJw", "H4s", "MTIz", "NDU2", "\t", "> ", "60", "0200", "\u00a0",
    "pıN=12345\n", "… ",
]  # fmt: skip
GROUP_SIZES = [(1,), (2,), (3,), (4,), (5,), (6,), (8,), (4, 6), (6, 13), (8, 11), (4, 4, 4, 7), (7,)]
BREAKS = ["\n", " \n  ", "\r\n", "-", "\u200b", "%2D", "\n> ", " ", "", "\n\n", "\x00"]
FIELDS = [
    "ref ",
    "rrn: ",
    "RRN=",
    "参考号：",
    "4a6b-12cd-",
    "ref\n",
    "card ",
    "card_no: ",
    "卡号：",
    "card:\n",
    "pan\n",
]
BETWEEN_BYTES = [" ", ":", ", ", "-", " 0x", "\\x", "\n", ",0x"]


@st.composite
def cut_numbers(draw: st.DrawFn) -> str:
    number = draw(card_numbers())
    at = draw(st.integers(1, len(number) - 1))
    return number[:at] + draw(st.sampled_from(BREAKS)) + number[at:]


@st.composite
def printed_numbers(draw: st.DrawFn) -> str:
    number, size = draw(card_numbers()), draw(st.sampled_from(GROUP_SIZES))
    return printed(number, size, draw(st.sampled_from(" -._/\n")))


def printed(number: str, sizes: tuple[int, ...], separator: str) -> str:
    """In groups of these sizes, the last as often as needed."""
    groups: list[str] = []
    for size in chain(sizes, repeat(sizes[-1])):
        if not number:
            return separator.join(groups)
        groups.append(number[:size])
        number = number[size:]
    raise AssertionError("repeat ends")


@st.composite
def named_values(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(["F52", "TMK", "k", "pin data", "DE 64", "密码块", "PIN", "cvv"]))
    between = draw(st.sampled_from(["=", ": ", "\n= ", "=\n", "='", " ", "\n", " 0x"]))
    return name + between + draw(st.text("0123456789ABCDEF", min_size=3, max_size=40))


@st.composite
def named_numbers(draw: st.DrawFn) -> str:
    """Such as a field's name decides on: references, and card numbers with a wrong check digit."""
    digits = draw(st.from_regex(r"(?:5[0-9]{11}|62[0-9]{14}|62[0-9]{17})", fullmatch=True))
    if len(digits) == 12:
        digits = closed_with_check_digit(digits[:-1])
    at = draw(st.integers(0, len(digits)))
    return draw(st.sampled_from(FIELDS)) + digits[:at] + draw(st.sampled_from(BREAKS)) + digits[at:]


planted = st.builds(lambda form, number: FORMS[form](number), st.sampled_from(sorted(FORMS)), card_numbers())
dumps = st.builds(
    lambda octets, between: between.join(f"{octet:02x}" for octet in octets),
    st.binary(min_size=1, max_size=30),
    st.sampled_from(BETWEEN_BYTES),
)
pieces = st.one_of(
    planted,
    cut_numbers(),
    printed_numbers(),
    named_values(),
    named_numbers(),
    dumps,
    st.sampled_from(ATOMS),
    st.sampled_from(ATOMS),
    st.text("0123456789", min_size=1, max_size=24),
    st.text("0123456789abcdefABCDEF", min_size=1, max_size=60),
    st.text("ABCDMNOxyz0123+/_-wQEI", min_size=5, max_size=50),
)
awkward_texts = st.lists(pieces, max_size=16).map("".join)


def seeded_text(draw: random.Random, numbers: list[str]) -> str:
    """The same kind of text without what a search for small examples costs: for thousands of them."""
    return "".join(_seeded_piece(draw, draw.choice(numbers)) for _ in range(draw.randrange(1, 18)))


def _seeded_piece(draw: random.Random, number: str) -> str:
    def some(chars: str, most: int) -> str:
        return "".join(draw.choices(chars, k=draw.randrange(1, most)))

    reference = closed_with_check_digit("5" + "".join(draw.choices("0123456789", k=10)))
    wrong = number[:-1] + str((int(number[-1]) + draw.randrange(1, 10)) % 10)
    at, cut = draw.randrange(1, len(number)), draw.randrange(len(reference))
    octets = draw.randbytes(draw.randrange(1, 30))
    pieces = [
        lambda: FORMS[draw.choice(sorted(FORMS))](number),
        lambda: number[:at] + draw.choice(BREAKS) + number[at:],
        lambda: printed(number, draw.choice(GROUP_SIZES), draw.choice(" -._/\n")),
        lambda: draw.choice(FIELDS) + reference[:cut] + draw.choice(BREAKS) + reference[cut:],
        lambda: draw.choice(FIELDS) + wrong,
        lambda: draw.choice(ATOMS),
        lambda: draw.choice(ATOMS),
        lambda: draw.choice(BETWEEN_BYTES).join(f"{octet:02x}" for octet in octets),
        lambda: some("0123456789", 25),
        lambda: some("0123456789abcdefABCDEF", 60),
        lambda: some("ABCDMNOxyz0123+/_-wQEI", 50),
    ]
    return draw.choice(pieces)()


def dense_text(draw: random.Random, numbers: list[str], size: int) -> str:
    """Little but digits: numbers whole and in groups, and others, beside everything that may stand between two."""
    parts: list[str] = []
    length = 0
    while length < size:
        number = draw.choice(numbers)
        digits = str(draw.randrange(10 ** draw.choice((1, 2, 3, 4, 4, 4, 6, 8, 12, 16, 18, 19))))
        pieces = [digits, digits.zfill(4), number, printed(number, draw.choice(GROUP_SIZES), draw.choice(_BETWEEN))]
        parts += [draw.choice(pieces), draw.choice(_BETWEEN)]
        length += len(parts[-2]) + len(parts[-1])
    return "".join(parts)


_BETWEEN = [
    " ", " ", "-", ".", "_", "/", "  ", "\n", " \n", "\r\n", "\n ", "+", "\n+", "\\\n", "\t\n", "\n> ", "x", "=",
    " card ", "\ncard_no: ", "卡号",
]  # fmt: skip


def packed_text(draw: random.Random, numbers: list[str], size: int) -> str:
    """Packed numbers, padded or not, one behind the other: they overlap with what they make together."""
    parts: list[str] = []
    while sum(map(len, parts)) < size:
        number = draw.choice(numbers)
        parts.append(
            draw.choice([number, number + "F", number + "0", "62", "4111", "1662", "9", draw.randbytes(3).hex()])
            * draw.choice((1, 1, 1, 9))
        )
    text = "".join(parts)
    apart = draw.choice(["", "", *BETWEEN_BYTES])
    return apart.join(text[at : at + 2] for at in range(0, len(text), 2))
