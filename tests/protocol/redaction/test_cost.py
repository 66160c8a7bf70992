"""What a scan costs grows as its text does, whatever the text is: counted in calls, which no busy machine changes."""

from __future__ import annotations

import random
import sys
from types import FrameType

import pytest

from protocol.redaction import StreamScrubber, scrub
from tests.protocol.redaction.card_samples import FORMS, generated

DRAW = random.Random(5)
NUMBERS = generated(54, seed=5)
SIZE, TIMES = 6000, 4
# A long text may cost more than so many short ones by what happens once for each.
MOST = 1.25 * TIMES


def lines(make: str) -> list[str]:
    """A pattern of which each # is another digit and each @ another hex digit, line by line."""
    draws = {"#": "0123456789", "@": "0123456789abcdef"}
    return ["".join(DRAW.choice(draws.get(one, one)) for one in make) for _ in range(TIMES * SIZE // len(make) + 1)]


KINDS = {
    "packed numbers": ["62"],
    "packed numbers in a dump": ["a", *["62"] * TIMES * SIZE],
    "bytes of numbers": ["62 "],
    "a few bytes a line": ["62 00 12\n"],
    "digits and blanks": ["4 1 "],
    "groups of four": lines("#### #### #### #### ####\n"),
    "groups of three": lines("### "),
    "lines of 18 digits": lines("#" * 18 + "\n"),
    "lines of 16 digits": lines("#" * 16 + "\n"),
    "lines of 4 digits": lines("####\n"),
    "random digits": lines("#" * 60),
    "random hex": lines("@" * 60),
    "lines of hex": lines("@" * 60 + "\n"),
    "zero bytes": ["\0"],
    "UTF-16": ["4\0"],
    "zero-width spaces": ["4\u200b"],
    "escapes": ["%36"],
    "long escapes": ["\\u0036"],
    "entities": ["&#54;"],
    "arabic digits": ["\u0664"],
    "names": ["pin="],
    "PINs": ["pin=1234 "],
    "names of fields": ["F52 "],
    "a base64 run": ["QUJD+x/9"],
    "tags": ["9908"],
    "more tags": ["575A"],
    "tracks": ["6222020000000007=2912201"],
    "track 1 all over": ["B4111111111111111^"],
    "carets": ["^"],
    "line ends": ["\n"],
    "every form": [FORMS[form](number) + "\n" for number in NUMBERS for form in sorted(FORMS)],
}


def text_of(pieces: list[str], size: int) -> str:
    whole = "".join(pieces)
    return (whole * (size // len(whole) + 1))[:size]


def calls_of(text: str, *, is_stream: bool) -> int:
    calls = 0

    def count(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    scrubber = StreamScrubber()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        if is_stream:
            scrubber.feed(text)
            scrubber.finish()
        else:
            scrub(text)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_four_times_the_text_is_at_most_four_times_the_work(kind: str, *, is_stream: bool) -> None:
    scrub(text_of(KINDS[kind], SIZE))  # what is worked out once is known from here on
    short, long = (calls_of(text_of(KINDS[kind], size), is_stream=is_stream) for size in (SIZE, TIMES * SIZE))
    assert long <= MOST * short + 500, f"{short} calls for {SIZE} characters, {long} for {TIMES} times as many"
