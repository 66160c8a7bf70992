r"""The terminal service protocol: JSON lines, one request and one reply a line, over a stream.

    request   {"id": 7, "call": "app_status", "args": {}}\n
    answered  {"id": 7, "ok": true, "value": {...}}\n
    refused   {"id": 7, "ok": false, "code": "...", "detail": "..."}\n

A line holds at most `MAX_LINE_BYTES`; a longer one is dropped to its end and reported as `LineNoise`, as is a line that
is no message. Feeding never raises, and the events do not depend on where the chunks were cut. Who calls what, and for
how long an answer is waited for, is left to `device`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from device_agent.errors import AgentError
from protocol.codec import UNREADABLE

MAX_LINE_BYTES = 64 * 1024
MAX_ID = 2**31
_MAX_DETAIL_CHARS = 200

Id = Annotated[int, Meta(ge=0, le=MAX_ID)]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Code = Annotated[str, Meta(max_length=64)]
MessageT = TypeVar("MessageT")


class LineTooLong(AgentError):
    """Our own message does not fit a line; a peer cannot cause it."""

    code = "line_too_long"


class Request(msgspec.Struct, frozen=True):
    id: Id
    call: Name
    args: dict[str, Any] = {}


class Reply(msgspec.Struct, frozen=True):
    """``value`` only when ``ok``; ``code`` and ``detail`` only when not."""

    id: Id
    ok: bool
    value: msgspec.Raw = msgspec.Raw(b"null")
    code: Code = ""
    detail: Annotated[str, Meta(max_length=1024)] = ""


@dataclass(frozen=True, slots=True)
class LineNoise:
    """Bytes that were no message: how many, and why. Never the bytes themselves: they may hold card data."""

    size_bytes: int
    reason: str


class MessageReader(Generic[MessageT]):
    """Bytes in, messages out. Holds at most one line of `MAX_LINE_BYTES`."""

    def __init__(self, kind: type[MessageT]) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._held = bytearray()
        self._dropped_bytes = 0

    def feed(self, chunk: bytes) -> list[MessageT | LineNoise]:
        events: list[MessageT | LineNoise] = []
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._take(line)
            event = self._finish()
            if event is not None:
                events.append(event)
        self._take(rest)
        return events

    def reset(self) -> None:
        """Forgets a line begun on a connection that is gone."""
        self._held.clear()
        self._dropped_bytes = 0

    def _take(self, part: bytes) -> None:
        if self._dropped_bytes or len(self._held) + len(part) > MAX_LINE_BYTES:
            self._dropped_bytes += len(self._held) + len(part)
            self._held.clear()
        else:
            self._held += part

    def _finish(self) -> MessageT | LineNoise | None:
        line, dropped = bytes(self._held), self._dropped_bytes
        self.reset()
        if dropped:
            return LineNoise(dropped, f"line of {dropped} bytes, limit {MAX_LINE_BYTES}")
        if not line.strip():
            return None
        try:
            return self._decoder.decode(line)
        except UNREADABLE as error:
            return LineNoise(len(line), str(error)[:_MAX_DETAIL_CHARS])


def request_reader() -> MessageReader[Request]:
    return MessageReader(Request)


def reply_reader() -> MessageReader[Reply]:
    return MessageReader(Reply)


def encode_request(number: int, call: str, args: Mapping[str, object]) -> bytes:
    return _line({"id": number, "call": call, "args": dict(args)})


def encode_answer(number: int, value: object) -> bytes:
    return _line({"id": number, "ok": True, "value": value})


def encode_refusal(number: int, code: str, detail: str) -> bytes:
    return _line({"id": number, "ok": False, "code": code, "detail": detail[:_MAX_DETAIL_CHARS]})


def _line(message: dict[str, object]) -> bytes:
    line = msgspec.json.encode(message)
    if len(line) > MAX_LINE_BYTES:
        raise LineTooLong(f"message is {len(line)} bytes, limit {MAX_LINE_BYTES}")
    return line + b"\n"
