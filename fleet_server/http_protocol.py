"""HTTP/1.1 on one connection, for clients that take their time: uvicorn's protocol with a deadline for each part.

By itself uvicorn waits for ever for the rest of a request, and for a client that does not read its answer. Here a
connection is in one of four stages, and may stay in the first three only so long (`Deadlines`):

    headers   nothing, or a part of the headers, has come   answered 408, or just ended when nothing came
    body      a part of the body has come                   answered 408
    stalled   the client reads nothing of its answer        cut off
    answer    the request is whole                          for as long as the answer takes: event streams are here

Between two requests uvicorn's own patience holds (``timeout_keep_alive``).
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from fleet_server.connections import Connections, Place
from fleet_server.security_headers import SECURITY_HEADERS

RETRY_AFTER_S = 10


@dataclass(frozen=True, slots=True)
class Deadlines:
    headers_s: float = 10.0
    body_s: float = 30.0
    # Between the first bytes that find no room and the moment there is room again, for 64 KiB.
    stalled_s: float = 60.0


class PatientProtocol(H11Protocol):
    """Made by `protocol_with`, once a connection."""

    deadlines: ClassVar[Deadlines]
    held: ClassVar[Connections[PatientProtocol]]

    _stage = ""
    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class has it
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        place, displaced = self.held.admit(self, address)
        if displaced is not None:
            displaced.transport.abort()
        if place is Place.GIVEN:
            self._enter("headers")
        elif place is Place.TOO_MANY_OF_ADDRESS:
            self._refuse(429, "too_many_connections", "too many connections from this address: come again later")
        else:
            self._refuse(503, "busy", "all connections are in use: come again later")

    def connection_lost(self, exc: Exception | None) -> None:
        self.held.gone(self)
        self._enter("")
        self._unstall()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.deadlines.stalled_s, self._cut_off)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unstall()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "request_invalid", msg)

    def _look(self) -> None:
        """Which stage the connection is in now."""
        if self.transport.is_closing():
            return
        theirs, ours = self.conn.their_state, self.conn.our_state
        if theirs is h11.SEND_BODY:
            self._enter("body")
        elif theirs is h11.IDLE:
            has_begun = bool(self.conn.trailing_data[0])
            self._enter("headers" if has_begun or self.cycle is None else "idle")
        elif ours in {h11.SEND_RESPONSE, h11.SEND_BODY}:
            self._enter("answer")

    def _enter(self, stage: str) -> None:
        if stage == self._stage:
            return
        self._stage = stage
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if stage == "answer":
            self.held.served(self)
        elif stage:
            self.held.waits(self)
        patience_s = {"headers": self.deadlines.headers_s, "body": self.deadlines.body_s}.get(stage)
        if patience_s is not None:
            self._timer = self.loop.call_later(patience_s, self._too_slow, stage)

    def _too_slow(self, stage: str) -> None:
        if self.transport.is_closing():
            return
        has_begun = stage == "body" or bool(self.conn.trailing_data[0])
        if not has_begun or self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.close()
            return
        self._refuse(408, "too_slow", f"the {stage} of a request must be here within {self._patience(stage):g} s")

    def _patience(self, stage: str) -> float:
        return self.deadlines.body_s if stage == "body" else self.deadlines.headers_s

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """An answer of the server itself, the last on this connection; no program behind it was asked."""
        body = json.dumps({"code": code, "detail": detail}).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
            *SECURITY_HEADERS.items(),
        ]
        if status in {429, 503}:
            headers.append(("retry-after", str(RETRY_AFTER_S)))
        events = (
            h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _cut_off(self) -> None:
        """At once: the kernel would hold what nobody reads for many minutes more."""
        link = self.transport.get_extra_info("socket")
        if link is not None:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _unstall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def protocol_with(deadlines: Deadlines, held: Connections[PatientProtocol]) -> type[PatientProtocol]:
    """What uvicorn makes one of for each connection, handing over nothing of ours."""
    return type("PatientProtocol", (PatientProtocol,), {"deadlines": deadlines, "held": held})
