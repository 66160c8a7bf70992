"""The short way of reading samples against the typed one: where it answers, both say the same of the same bytes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet_server.ingest import quick_columns
from fleet_server.ingest.decode import decode_entry
from protocol import codec
from protocol.errors import Malformed
from protocol.records import HealthColumns, Record
from protocol.streams import StreamKind

HEAD = b'{"device":"d-terminal0000001","boot":"%s","mono_ms":5,"wall_ms":1764300000000,"body":' % (b"01234567" * 4)
USUAL = b'{"kind":"health_columns","start_ms":1764299990000,"step_ms":5000,"steps":%d,"columns":%s}}'
NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65).map(lambda one: str(one).encode()),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda one: repr(one).encode()),
    st.sampled_from(
        [b"-0", b"-0.0", b"1.0", b"1e3", b"1E-7", b"0.1", b"5e-324", b"4111111111111111", b"1764300000000"]
    ),
)
ODD = st.sampled_from(
    [
        b"null",
        b"true",
        b'"ok"',
        b'"4111111111111111"',
        b"[1]",
        b"[]",
        b"{}",
        b'{"a":1}',
        b"1e999",
        b"NaN",
        b"01",
        b"",
        b"+1",
    ]
)
NAMES = st.sampled_from([b"a.b", b"batt.level_pct", b"sys.cpu_pct", rb"a.\u0062", b"A", b"", b"x" * 90, b"[", b"\xff"])
SPACE = st.sampled_from([b"", b" ", b"\n\t"])


@st.composite
def columns(draw: st.DrawFn) -> tuple[int, bytes]:
    steps = draw(st.integers(1, 4))
    written = []
    for _ in range(draw(st.integers(0, 4))):
        size = steps if draw(st.integers(0, 9)) else draw(st.integers(0, 5))
        samples = draw(st.lists(st.one_of(*[NUMBERS] * 15, ODD), min_size=size, max_size=size))
        space = draw(SPACE)
        written.append(b'"%s"%s:[%s]' % (draw(NAMES), space, (b"," + space).join(samples)))
    return steps, b"{%s}" % b",".join(written)


def raw_of(steps: int, written: bytes) -> bytes:
    return HEAD + USUAL % (steps, written)


def agrees(raw: bytes) -> bool:
    """Whether the short way answered; it must say what the typed one says."""
    quick = quick_columns.read(raw)
    if quick is None:
        return False
    typed = codec.from_json(raw, Record)
    assert isinstance(typed, Record), raw
    assert isinstance(typed.body, HealthColumns)
    record, numbers = quick
    assert isinstance(record.body, HealthColumns)
    found, wanted = record.body, typed.body
    assert (record.device, record.boot, record.mono_ms, record.wall_ms) == (
        typed.device,
        typed.boot,
        typed.mono_ms,
        typed.wall_ms,
    )
    assert (found.start_ms, found.step_ms, found.steps) == (wanted.start_ms, wanted.step_ms, wanted.steps)
    assert list(found.columns) == list(wanted.columns)
    flat = [float(one) for column in wanted.columns.values() for one in column]  # type: ignore[arg-type]  # numbers alone
    assert numbers.tolist() == flat
    for name, column in wanted.columns.items():
        assert [float(one) for one in found.columns[name]] == [float(one) for one in column]  # type: ignore[arg-type]  # as above
    return True


@settings(max_examples=400, deadline=None)
@given(columns())
@example((1, b'{"a.b":[[1]]}'))
@example((2, b'{"a.b":[1],"sys.cpu_pct":[1,2,3]}'))
@example((1, b'{"a.b":[1],"a.b":[2]}'))
@example((1, rb'{"a.b":[1],"a.\u0062":[2]}'))
@example((1, b'{"a.b":{"0":1}}'))
@example((1, b"[1]"))
def test_what_the_short_way_reads_is_what_the_typed_decoder_reads(given_: tuple[int, bytes]) -> None:
    assert agrees(raw_of(*given_)) is is_numbers_alone(*given_)


def is_numbers_alone(steps: int, written: bytes) -> bool:
    """Columns of numbers of at most 64 bits, none twice, all of one length: what the short way is for."""
    typed = codec.from_json(raw_of(steps, written), Record)
    if not isinstance(typed, Record) or not isinstance(typed.body, HealthColumns):
        return False
    made = typed.body.columns
    samples = [one for column in made.values() for one in column]
    return (
        0 < len(made) == written.count(b"[")
        and {len(column) for column in made.values()} == {steps}
        and all(type(one) is float or (type(one) is int and -(2**63) <= one < 2**64) for one in samples)
    )


@settings(max_examples=200, deadline=None)
@given(columns())
def test_whichever_way_is_taken_the_same_comes_of_an_entry(given_: tuple[int, bytes]) -> None:
    """What the typed decoder refuses is refused, and a number that may be a card's is never passed on."""
    raw = raw_of(*given_)
    entry, typed = decode_entry(1, msgspec.Raw(raw), StreamKind.BULK), codec.from_json(raw, Record)
    if isinstance(typed, Malformed):
        assert isinstance(entry.record, Malformed)
    assert b"4111111111111111" not in repr(entry.record).encode()


@pytest.mark.parametrize(
    ("steps", "written"),
    [(3, b'{"batt.level_pct":[81,80.5,80]}'), (1, b'{ "a.b" : [ 1e3 ] , "sys.cpu_pct":[-0.5] }')],
)
def test_numbers_alone_are_read_the_short_way(steps: int, written: bytes) -> None:
    assert agrees(raw_of(steps, written))


@pytest.mark.parametrize(
    "raw",
    [
        raw_of(3, b'{"a.b":[1,null,3]}'),
        raw_of(1, b"{}"),
        raw_of(121, b'{"a.b":[%s]}' % b",".join([b"1"] * 121)),
        HEAD + b'{"kind":"security_event","code":"x"}}',
        raw_of(1, b'{"a.b":[1]}').replace(b'"mono_ms":5', b'"mono_ms":-5'),
        raw_of(1, b'{"a.b":[1]}').replace(b'"mono_ms":5', b'"mono_ms":5,"more":1'),
        b"",
        b"\xff",
        b"[" * 5000,
    ],
)
def test_all_else_is_left_to_the_typed_decoder(raw: bytes) -> None:
    assert quick_columns.read(raw) is None
