"""Messages of devices, parsed once: what comes out is typed, bounded and scrubbed of card data, or a dead letter.

Identity comes from the topic only, which the broker ties to the certificate. Decoding never raises on peer input.
Whether a link is enrolled, and which devices it may speak for, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import inf
from typing import Any, TypeVar, assert_never

import msgspec
import numpy as np

from fleet_server.health.packing import EXACT, Floats
from fleet_server.ingest import quick_columns
from fleet_server.mqtt import Received
from protocol import codec
from protocol.capabilities import MAX_FIRMWARE, Capabilities
from protocol.errors import Malformed
from protocol.identifiers import LinkId, StreamId
from protocol.records import (
    ExecutionReport,
    FaultCleared,
    FaultRaised,
    HealthColumns,
    Record,
    RecordBody,
    Sample,
    SecurityEvent,
    SpoolLost,
    Tombstone,
    Verdict,
)
from protocol.redaction import SMALLEST_CARD_NUMBER, is_card_value, scrub
from protocol.session import Hello, Presence
from protocol.streams import Batch, StreamKind
from protocol.topics import Up, parse_up

MAX_SEQ = 2**53
# Larger whole numbers fit neither database.
_MAX_WHOLE = 2**63 - 1
_SHORTEST_CARD_TEXT = 8
# Numbers so large are looked at one by one: whether the columns can hold them, and whether they may be a card's.
_LOOKED_AT = float(min(EXACT, SMALLEST_CARD_NUMBER))
# Longer than any topic of ours, whose longest part is the name of a link.
_LONGEST_TOPIC = 120
_STREAMS = {Up.URGENT: StreamKind.URGENT, Up.BULK: StreamKind.BULK}
# What messages that are not batches cost beside such, counted in the same bytes: statements of their own, and of each
# device behind the link a row, an entry in the timeline and its condition; declared it brings its actions.
_SMALL_BYTES = 16 * 1024
_TOLD_DEVICE_BYTES = 1024
_DECLARED_DEVICE_BYTES = 4096
# PostgreSQL stores no NUL in a text. The odd one out of an escaped backslash stays as it is.
# A text among samples ends so, the name of a column does not.
_TEXT_SAMPLE = re.compile(rb'"\s*[,\]]')
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


@dataclass(frozen=True, slots=True)
class HelloMessage:
    """``came_s``: when it reached this process (monotonic)."""

    link: LinkId
    hello: Hello
    came_s: float = inf


@dataclass(frozen=True, slots=True)
class CapabilitiesMessage:
    link: LinkId
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class PresenceMessage:
    link: LinkId
    presence: Presence


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One place in a stream: its record, or why there is none. ``hits``: pieces of card data that were taken out.
    ``numbers``: of health columns that are numbers alone all samples, column by column.
    """

    seq: int
    record: Record | Malformed
    raw: bytes
    hits: int = 0
    numbers: Any = None  # Floats, which msgspec has no type for


class BatchMessage(msgspec.Struct, frozen=True, gc=False):
    link: LinkId
    kind: StreamKind
    stream: StreamId
    entries: tuple[Entry, ...]
    mono_offset_ms: int | None = None  # see `protocol.streams.Batch`


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A payload nothing can be made of; ``link`` is None when not even its topic is one of ours."""

    link: LinkId | None
    topic_kind: str
    why: Malformed
    payload: bytes
    content_type: str


T = TypeVar("T")
Decoded = HelloMessage | CapabilitiesMessage | PresenceMessage | BatchMessage | DeadMessage


def decode(message: Received, came_s: float = inf) -> Decoded:
    """``came_s``: when it reached this process (monotonic)."""
    topic = _parsed(message.topic) if len(message.topic) <= _LONGEST_TOPIC else None
    if topic is None:
        return _dead(None, "", Malformed("topic", "not a topic of a device"), message)
    match topic.kind:
        case Up.HELLO:
            hello = _whole(message, Hello)
            return (
                _dead(topic.link, topic.kind, hello, message)
                if isinstance(hello, Malformed)
                else HelloMessage(topic.link, _clean_version(hello), came_s)
            )
        case Up.CAPABILITIES:
            declared = _clean_declared(_whole(message, Capabilities))
            return (
                _dead(topic.link, topic.kind, declared, message)
                if isinstance(declared, Malformed)
                else CapabilitiesMessage(topic.link, declared)
            )
        case Up.PRESENCE:
            presence = _clean_reason(_whole(message, Presence))
            return (
                _dead(topic.link, topic.kind, presence, message)
                if isinstance(presence, Malformed)
                else PresenceMessage(topic.link, presence)
            )
        case Up.URGENT | Up.BULK:
            return _batch(topic.link, _STREAMS[topic.kind], message)
        case Up.LIVE:
            return _dead(topic.link, topic.kind, Malformed("topic", "live messages are not taken here"), message)


# The links of a fleet say the same few topics over and over.
_parsed = lru_cache(maxsize=4096)(parse_up)


def _clean_reason(presence: Presence | Malformed) -> Presence | Malformed:
    if isinstance(presence, Malformed) or len(presence.reason) < _SHORTEST_CARD_TEXT:
        return presence
    return msgspec.structs.replace(presence, reason=scrub(presence.reason).text[:80])


def _clean_version(hello: Hello) -> Hello:
    if len(hello.agent_version) < _SHORTEST_CARD_TEXT:
        return hello
    return msgspec.structs.replace(hello, agent_version=scrub(hello.agent_version).text[:64])


def _clean_declared(declared: Capabilities | Malformed) -> Capabilities | Malformed:
    """Model and firmware are what a device said; the rest is an agent's own words, where card data is no mistake."""
    if isinstance(declared, Malformed):
        return declared
    devices = []
    for device in declared.devices:
        if _holds_card_data(codec.to_json(device.actions).decode()):
            return Malformed("card_data", "there is card data in the declaration of an action")
        model, firmware = scrub(device.model).text[:80], scrub(device.firmware).text[:MAX_FIRMWARE]
        devices.append(msgspec.structs.replace(device, model=model, firmware=firmware))
    return msgspec.structs.replace(declared, devices=devices)


@lru_cache(maxsize=64)
def _holds_card_data(actions: str) -> bool:
    """Devices of a model declare the same, and a fleet has few models."""
    return bool(scrub(actions).hits)


def _whole(message: Received, kind: type[T]) -> T | Malformed:
    value = codec.decode(message.payload, message.content_type, kind)
    if isinstance(value, Malformed):
        return value
    if b"\\u0000" in codec.to_json(value):
        return Malformed("nul", "a text holds NUL")
    return value


def _batch(link: LinkId, kind: StreamKind, message: Received) -> BatchMessage | DeadMessage:
    batch = codec.decode(message.payload, message.content_type, Batch)
    if isinstance(batch, Malformed):
        return _dead(link, kind, batch, message)
    if batch.first_seq + len(batch.records) - 1 > MAX_SEQ:
        return _dead(link, kind, Malformed("sequence", f"sequence numbers end at {MAX_SEQ}"), message)
    entries = [decode_entry(seq, raw, kind) for seq, raw in enumerate(batch.records, batch.first_seq)]
    return BatchMessage(link, kind, StreamId(batch.stream), tuple(entries), batch.mono_offset_ms)


def decode_entry(seq: int, raw: msgspec.Raw, kind: StreamKind) -> Entry:
    """One record of a batch: what becomes of it does not depend on the others."""
    plain = bytes(raw)
    # What is read quickly has no text that could hold NUL.
    if kind is StreamKind.BULK and (quick := quick_columns.read(plain)) is not None:
        record, numbers = quick
        if not _has_doubtful(numbers):
            return Entry(seq, record, plain, 0, numbers)
    if b"\\u0000" in plain:
        plain = _NUL.sub(rb"\1\\ufffd", plain)
    return _decode_fully(seq, plain, kind)


def _decode_fully(seq: int, plain: bytes, kind: StreamKind) -> Entry:
    record = codec.from_json(plain, Record)
    if isinstance(record, Malformed):
        return Entry(seq, record, plain)
    if kind is StreamKind.BULK and isinstance(record.body, HealthColumns):
        numbers = _numbers(record.body, plain)
        if numbers is not None:
            return Entry(seq, record, plain, 0, numbers)
    why = _refusal(record.body, kind)
    if why is not None:
        return Entry(seq, why, plain)
    body, hits = _scrubbed(record.body)
    return Entry(seq, msgspec.structs.replace(record, body=body) if hits else record, plain, hits)


def _numbers(body: HealthColumns, raw: bytes) -> Floats | None:
    """The samples of a record that has nothing to refuse or to scrub, as nearly all have; None: it may have."""
    begin = raw.find(b'"columns"')
    columns = body.columns.values()
    # Where there are no more quotes than the names need, nothing else can be a text.
    if begin < 0 or (raw.count(b'"', begin) != 2 + 2 * len(columns) and _TEXT_SAMPLE.search(raw, begin) is not None):
        return None
    if set(map(len, columns)) != {body.steps}:
        return None
    try:
        numbers = _floats(columns, body.steps)
    except OverflowError:
        return None
    return None if _has_doubtful(numbers) else numbers


def _has_doubtful(numbers: Floats) -> bool:
    """Whether a large one is not exact, or may be a card's: times and counters of bytes are neither."""
    # The sum of squares is no smaller than any of them, and found in half the time.
    with np.errstate(over="ignore"):
        if float(numbers.dot(numbers)) < _LOOKED_AT**2:
            return False
    sizes = np.abs(numbers)
    large = numbers[sizes >= _LOOKED_AT]
    return bool((np.abs(large) > EXACT).any()) or any(map(is_card_value, large.tolist()))


def _floats(columns: Collection[Sequence[Any]], steps: int) -> Floats:
    """No texts among them. Raises ``OverflowError``."""
    try:
        return np.fromiter(chain.from_iterable(columns), np.float64, len(columns) * steps)
    except TypeError:
        # Something was not measured, which takes a little longer.
        return np.array(list(chain.from_iterable(columns)), dtype=np.float64)


def _refusal(body: RecordBody, kind: StreamKind) -> Malformed | None:
    """What the types alone cannot say."""
    if isinstance(body, HealthColumns) is not (kind is StreamKind.BULK):
        return Malformed("wrong_stream", f"a {record_kind(body)} came on {kind}")
    samples: Iterable[object] = ()
    if isinstance(body, HealthColumns):
        for column in body.columns.values():
            if len(column) != body.steps:
                return Malformed("columns", f"expected {body.steps} samples in every column")
        if int in _kinds(body):
            samples = chain.from_iterable(body.columns.values())
    elif isinstance(body, Verdict):
        samples = (body.value,)
    wholes = [sample for sample in samples if type(sample) is int]
    if wholes and max(*wholes, -min(wholes)) > _MAX_WHOLE:
        return Malformed("number", "a whole number does not fit eight bytes")
    return None


def _kinds(body: HealthColumns) -> set[type]:
    """Found without a step of Python for each sample: there are hundreds, and nearly always they are plain numbers."""
    return set(map(type, chain.from_iterable(body.columns.values())))


def record_kind(body: RecordBody) -> str:
    """The body's name on the wire."""
    return str(type(body).__struct_config__.tag)


def _scrubbed(body: RecordBody) -> tuple[RecordBody, int]:
    """The body without card data, and how many pieces were taken out: the agent should have left none."""
    if isinstance(body, HealthColumns):
        return _scrubbed_columns(body)
    changed: dict[str, Sample] = {}
    hits = 0
    if isinstance(body, Verdict):
        changed["value"], hits = _clean_sample(body.value)
    for name, text in _texts(body).items():
        # Shorter texts hold no card number: most records take no time here.
        if len(text) < _SHORTEST_CARD_TEXT:
            continue
        clean = scrub(text)
        if clean.hits:
            hits += len(clean.hits)
            changed[name] = clean.text[: len(text)]
    return (msgspec.structs.replace(body, **changed), hits) if hits else (body, 0)


def _texts(body: RecordBody) -> dict[str, str]:
    match body:
        case FaultRaised() | FaultCleared():
            return {"evidence": body.evidence}
        case Verdict():
            return {"evidence": body.evidence, "item": body.item, "unit": body.unit}
        case ExecutionReport():
            return {"detail": body.detail, "output_tail": body.output_tail, "step": body.step, "code": body.code}
        case SecurityEvent():
            return {"detail": body.detail}
        case Tombstone():
            return {"reason": body.reason}
        case HealthColumns() | SpoolLost():
            return {}
        case _:
            assert_never(body)


def _scrubbed_columns(body: HealthColumns) -> tuple[RecordBody, int]:
    cleaned = {name: [_clean_sample(sample) for sample in column] for name, column in body.columns.items()}
    hits = sum(found for column in cleaned.values() for _, found in column)
    if not hits:
        return body, 0
    columns = {name: [sample for sample, _ in column] for name, column in cleaned.items()}
    return msgspec.structs.replace(body, columns=columns), hits


def _clean_sample(sample: Sample) -> tuple[Sample, int]:
    """A number that may be a card's counts as not measured."""
    if isinstance(sample, str):
        clean = scrub(sample) if len(sample) >= _SHORTEST_CARD_TEXT else None
        return (clean.text[:64], len(clean.hits)) if clean is not None and clean.hits else (sample, 0)
    return (None, 1) if sample is not None and is_card_value(sample) else (sample, 0)


def _dead(link: LinkId | None, topic_kind: str, why: Malformed, message: Received) -> DeadMessage:
    payload = message.payload[: codec.MAX_PAYLOAD_BYTES]
    return DeadMessage(link, str(topic_kind), why, payload, (message.content_type or "")[:60])


def size_of(message: Decoded) -> int:
    """Bytes as JSON, or what costs as much: what it takes in memory is some times that."""
    match message:
        case BatchMessage():
            return sum([len(entry.raw) for entry in message.entries])
        case DeadMessage():
            return len(message.payload)
        case HelloMessage(hello=hello):
            return _SMALL_BYTES + _TOLD_DEVICE_BYTES * len(hello.devices)
        case CapabilitiesMessage(capabilities=declared):
            return _SMALL_BYTES + _DECLARED_DEVICE_BYTES * len(declared.devices)
        case PresenceMessage():
            return _SMALL_BYTES


def unprocessable(message: Decoded) -> Decoded:
    """The message with all it holds as dead letters: for one that no transaction would take."""
    why = Malformed("unprocessable", "the database refused it")
    if isinstance(message, BatchMessage):
        entries = tuple(Entry(entry.seq, why, entry.raw) for entry in message.entries)
        return BatchMessage(message.link, message.kind, message.stream, entries)
    return DeadMessage(message.link, "", why, b"", "")
