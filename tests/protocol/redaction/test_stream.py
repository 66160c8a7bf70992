from __future__ import annotations

import random
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.redaction import StreamScrubber, scrub, stream
from protocol.redaction.stream import MAX_HELD_CHARS
from tests.protocol.redaction.awkward_texts import awkward_texts
from tests.protocol.redaction.card_samples import FORMS, card_numbers


def streamed(chunks: list[str]) -> str:
    scrubber = StreamScrubber()
    return "".join([*(scrubber.feed(chunk) for chunk in chunks), scrubber.finish()])


def log_lines(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [f"10:{draw.randrange(60):02} I PosApp: step {draw.randrange(1000)} ok, state idle" for _ in range(count)]


@given(number=card_numbers(), form=st.sampled_from(sorted(FORMS)), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_number_is_found_wherever_the_chunks_are_cut(number: str, form: str, seed: int) -> None:
    lines = log_lines(60, seed)
    draw = random.Random(seed)
    lines.insert(draw.randrange(len(lines)), f"note {FORMS[form](number)}")
    text = "\n".join(lines)
    chunks = []
    while text:
        size = draw.randrange(1, 400)
        chunks.append(text[:size])
        text = text[size:]
    passed_on = streamed(chunks)
    assert number not in passed_on
    assert FORMS[form](number) not in passed_on
    assert passed_on.count("\n") >= 58


def cut(text: str, seed: int, largest: int) -> list[str]:
    draw = random.Random(seed)
    chunks = []
    while text:
        size = draw.randrange(1, largest)
        chunks.append(text[:size])
        text = text[size:]
    return chunks


@st.composite
def long_texts(draw: st.DrawFn) -> str:
    """Longer than what is held back, most lines harmless."""
    awkward = draw(st.lists(awkward_texts, min_size=1, max_size=8))
    filler = log_lines(60, draw(st.integers(0, 1000)))
    return "\n".join(line for text in awkward for line in (*filler[: draw(st.integers(0, 60))], text)) + "\n".join(
        filler
    )


@given(long_texts(), st.integers(0, 1000), st.sampled_from([20, 400, 5000]))
@settings(max_examples=80, deadline=None)
def test_what_comes_out_is_what_the_whole_text_gives_however_it_is_cut(text: str, seed: int, largest: int) -> None:
    assert streamed(cut(text, seed, largest)) == scrub(text).text


@given(long_texts(), st.integers(0, 1000), st.integers(0, 9000))
@settings(max_examples=40, deadline=None)
def test_what_is_dropped_does_not_depend_on_the_cuts_either(text: str, seed: int, at: int) -> None:
    text = text[:at] + "62 00\n" * draw_lines(seed) + text[at:]
    with patch.object(stream, "MAX_HELD_CHARS", 3000):
        outcomes = {streamed(cut(text, seed + number, largest)) for number, largest in enumerate((20, 400, 9000))}
    assert len(outcomes) == 1


def draw_lines(seed: int) -> int:
    return random.Random(seed).randrange(300, 1500)


def test_harmless_text_arrives_whole_and_in_order() -> None:
    text = "\n".join(log_lines(400, seed=3))
    assert streamed([text[at : at + 97] for at in range(0, len(text), 97)]) == text


def test_what_is_held_back_stays_bounded() -> None:
    scrubber = StreamScrubber()
    for line in log_lines(2000, seed=4):
        scrubber.feed(line + "\n")
        assert len(scrubber._held) <= 2 * MAX_HELD_CHARS


def test_an_endless_run_is_dropped_and_counted() -> None:
    scrubber = StreamScrubber()
    passed_on = "".join(scrubber.feed("x" * 1000) for _ in range(200)) + scrubber.finish()
    assert len(passed_on) < 2 * MAX_HELD_CHARS
    assert "[DROPPED: RUN TOO LONG]" in passed_on
    assert scrubber.dropped_chars > 0


def test_after_a_dropped_run_the_next_line_is_passed_on() -> None:
    passed_on = streamed([*["4 " * 500] * 200, "11 card 4111\n", "next line\n"])
    assert passed_on.endswith("\nnext line\n")
    assert "4111" not in passed_on


def test_a_value_is_not_cut_from_the_name_that_gives_it_away() -> None:
    for filler in range(600, 700):
        text = "x" * 20 + " " + "PIN: 4711" + " " + "y " * (filler // 2)
        assert "4711" not in streamed([text[at : at + 50] for at in range(0, len(text), 50)] + ["z " * 700])


def test_finish_gives_what_was_held_and_starts_afresh() -> None:
    scrubber = StreamScrubber()
    assert scrubber.feed("card 4111 1111 ") == ""
    assert scrubber.feed("1111 1111 ok") == ""
    assert scrubber.finish() == "card [PAN …1111] ok"
    assert scrubber.finish() == ""
