"""What is kept of what could not be read: never a number that it holds, however it was packed or cut."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from fleet_server.ingest import letters
from fleet_server.kit import scrubbing
from fleet_server.kit.scrubbing import BoundedScrubber, Bounds
from protocol import codec
from tests.protocol.redaction.card_samples import generated
from tests.support.card_hunt import leaks

NUMBERS = generated(27, seed=9)
NUMBER = NUMBERS[8]
FILLING = b'{"step":"idle"}\n'


def kept(payload: bytes, content_type: str = codec.JSON_DEFLATE) -> bytes:
    clean, hits = letters.harmless(payload, content_type)
    assert hits > 0
    assert len(clean) <= letters.MAX_BYTES
    return clean


@pytest.mark.parametrize("filling", [0, 1000, 20_000, 60_000])
def test_a_number_anywhere_in_what_was_deflated_is_found(filling: int) -> None:
    payload = zlib.compress(FILLING * filling + f"card {NUMBER} ".encode())
    assert leaks(NUMBERS, payload) == [NUMBER] or filling > 60_000
    assert leaks(NUMBERS, kept(payload)) == []


@pytest.mark.parametrize(
    "damaged",
    [
        lambda payload: payload[:-4] + b"\0\0\0\0",
        lambda payload: payload[:-6],
        lambda payload: payload + b"more",
        lambda payload: payload + payload,
    ],
)
def test_what_inflates_only_in_part_is_kept_as_it_reads(damaged: Callable[[bytes], bytes]) -> None:
    payload = damaged(zlib.compress(FILLING * 9 + f"card {NUMBER} ".encode() + FILLING * 9))
    assert leaks(NUMBERS, payload) == [NUMBER]
    assert leaks(NUMBERS, kept(payload)) == []


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress])
def test_what_is_deflated_and_does_not_say_so_is_looked_into(pack: Callable[[bytes], bytes]) -> None:
    payload = pack(f"card {NUMBER} ".encode())
    assert leaks(NUMBERS, kept(payload, "text/plain")) == []


def test_what_inflates_to_more_than_is_read_keeps_nothing_of_the_rest() -> None:
    payload = zlib.compress(b"x" * codec.MAX_INFLATED_BYTES + f" card {NUMBER} ".encode())
    clean, _ = letters.harmless(payload, codec.JSON_DEFLATE)
    assert leaks(NUMBERS, clean) == []
    assert clean == b"x" * letters.MAX_BYTES


def test_what_holds_none_is_kept_as_it_came() -> None:
    for payload in (b"", b"\xff\0 nothing", FILLING * 9000, zlib.compress(FILLING * 9), b"\x78\x9c not deflated"):
        assert letters.harmless(payload, codec.JSON_DEFLATE) == (payload, 0)


def test_a_long_one_that_is_not_scrubbed_in_its_bounds_is_dropped_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    scrubber = BoundedScrubber(Bounds(memory_bytes=1))
    monkeypatch.setattr(scrubbing, "shared", lambda: scrubber)
    payload = f"card {NUMBER} ".encode() + b"x" * letters.LARGE_BYTES
    assert letters.harmless(payload, codec.JSON) == (letters.NOT_SCRUBBED, 0)
    assert scrubber.dropped == 1
