"""Large texts in a process of its own: as scrubbed as elsewhere, or gone."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from typing import Any

import pytest

from fleet_server.kit.scrubbing import BoundedScrubber, Bounds
from protocol.redaction import scrub
from tests.protocol.redaction.awkward_texts import dense_text
from tests.protocol.redaction.card_samples import generated

NUMBERS = generated(54, seed=7)
TEXT = "\n".join(f"paid with {number} at 10:11:12" for number in NUMBERS).encode()


@pytest.fixture
def make() -> Iterator[Callable[..., BoundedScrubber]]:
    made: list[BoundedScrubber] = []

    def make_one(**bounds: Any) -> BoundedScrubber:
        made.append(BoundedScrubber(Bounds(**bounds)))
        return made[-1]

    yield make_one
    for one in made:
        one.close()


def test_it_answers_what_a_scan_here_answers(make: Callable[..., BoundedScrubber]) -> None:
    scrubber = make()
    for data in (TEXT, b"", b"\xff\x00 card 4111111111111111 \xfe", "卡号 6222020000000007".encode()):
        clean, here = scrubber.scrub(data), scrub(data.decode("utf-8", "surrogateescape"))
        assert clean is not None
        assert clean.text == here.text.encode("utf-8", "surrogateescape")
        assert clean.hits == len(here.hits)


def test_the_longest_hostile_letter_fits_its_bounds(make: Callable[..., BoundedScrubber]) -> None:
    text = dense_text(random.Random(2), NUMBERS, 1 << 15).encode() * 8
    clean = make().scrub(text)
    assert clean is not None
    assert clean.hits > 1000


def test_what_takes_too_long_is_dropped_and_the_next_text_is_scrubbed(make: Callable[..., BoundedScrubber]) -> None:
    scrubber = make(start_s=1, bytes_a_second=1 << 30, most_s=300)
    assert scrubber.scrub(b"pin=1234 " * (1 << 20)) is None
    assert scrubber.dropped == 1
    clean = scrubber.scrub(TEXT)
    assert clean is not None
    assert clean.hits == len(NUMBERS)


def test_a_process_that_stands_still_holds_up_nobody_for_long() -> None:
    idle_s = 0.0
    with closing(BoundedScrubber(Bounds(most_s=1.5), lambda: time.monotonic() + idle_s)) as scrubber:
        assert scrubber.scrub(TEXT) is not None
        process = scrubber._process
        assert process is not None
        process.handle.send_signal(signal.SIGSTOP)
        idle_s = 1e6  # in which nothing is saved up
        began_s = time.monotonic()
        assert scrubber.scrub(TEXT) is None
        assert time.monotonic() - began_s < 10
        assert process.handle.poll() is not None


def test_many_texts_take_no_more_than_their_share_of_the_time() -> None:
    now_s = count(0.0, 1.0)  # each look at the clock is a second later: a text takes one, and so does what is between
    with closing(BoundedScrubber(Bounds(most_s=5.0, share=0.25), lambda: next(now_s))) as scrubber:
        answers = [scrubber.scrub(b"card 4111111111111111") for _ in range(40)]
    assert None not in answers[:5]
    # A second is paid with four: with those refused every fourth or fifth look finds one.
    assert 6 <= sum(answer is not None for answer in answers[8:]) <= 9
    assert scrubber.dropped == answers.count(None)


def test_what_takes_too_much_memory_is_dropped(make: Callable[..., BoundedScrubber]) -> None:
    scrubber = make(memory_bytes=96 * 1024 * 1024)
    assert scrubber.scrub(b"x" * 64 * 1024 * 1024) is None
    assert scrubber.scrub(TEXT) is not None


def test_a_process_that_was_killed_is_replaced(make: Callable[..., BoundedScrubber]) -> None:
    scrubber = make()
    assert scrubber.scrub(TEXT) is not None
    process = scrubber._process
    assert process is not None
    os.kill(process.handle.pid, signal.SIGKILL)
    process.handle.wait(10)
    assert scrubber.scrub(TEXT) is not None


def test_threads_take_turns(make: Callable[..., BoundedScrubber]) -> None:
    scrubber = make()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda number: scrubber.scrub(f"card {number}".encode()), NUMBERS))
    assert [answer.text.decode() for answer in answers if answer] == [f"card [PAN …{one[-4:]}]" for one in NUMBERS]


def test_the_process_ends_when_it_is_closed() -> None:
    with closing(BoundedScrubber()) as scrubber:
        scrubber.scrub(TEXT)
        process = scrubber._process
        assert process is not None
    assert process.handle.poll() is not None
