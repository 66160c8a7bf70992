"""A small broker of MQTT 5 in a thread that keeps every promise, or breaks the one that a test names: what mosquitto
cannot be made to do wrong must be seen to be found as well.

Names that begin with ``svc-`` may do everything; any other reads its own ``down`` and writes its own ``up``. Without
TLS, QoS 1 only, nothing on disk.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count

from paho.mqtt.client import topic_matches_sub

from protocol import mqtt_packets as packets

_LIMIT = 262_144


class Fault(Enum):
    SPEAKS_3_ONLY = auto()
    SESSION_OUTLIVES = auto()
    SESSION_FORGOTTEN = auto()
    EXPIRY_IGNORED = auto()
    NO_WILL = auto()
    ANY_WILL = auto()
    SILENCE_SUFFERED = auto()
    NO_TAKEOVER = auto()
    SHARED_TO_ALL = auto()
    DEAD_HOLD_BACK = auto()
    HELD_IS_LOST = auto()
    GROUPS_MIXED = auto()
    DISORDER = auto()
    CUT_SHORT = auto()
    PROPERTIES_LOST = auto()
    ALIAS_UNASKED = auto()
    RETAINS = auto()
    NO_LIMIT = auto()
    WINDOW_IGNORED = auto()
    LIES = auto()
    READS_ALL = auto()
    WRITES_ALL = auto()


@dataclass(slots=True)
class Kept:
    topic: str
    properties: bytes
    payload: bytes
    ends_s: float
    group: str = ""


@dataclass(eq=False, slots=True)
class Session:
    name: str
    writer: asyncio.StreamWriter | None = None
    expiry_s: int = 0
    window: int = 65_535
    keepalive_s: int = 0
    will: tuple[str, bytes] | None = None
    filters: list[str] = field(default_factory=list)
    queue: deque[Kept] = field(default_factory=deque)
    in_flight: dict[int, Kept] = field(default_factory=dict)
    mids: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def is_service(self) -> bool:
        return self.name.startswith("svc-")


class FaultyBroker:
    def __init__(self, *faults: Fault) -> None:
        self._faults = set(faults)
        self._sessions: list[Session] = []
        self._groups: dict[str, list[Session]] = {}
        self._retained: dict[str, bytes] = {}
        self._late: Kept | None = None
        self.port = 0

    def _has(self, fault: Fault) -> bool:
        return fault in self._faults

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session: Session | None = None
        try:
            _, body = await _packet(reader)
            session = self._connect(body, writer)
            while session is not None and session.writer is writer:
                patience_s = None if self._has(Fault.SILENCE_SUFFERED) else session.keepalive_s * 1.5
                first, body = await asyncio.wait_for(_packet(reader), patience_s)
                if first == 0xE0:
                    session.will = None
                    break
                self._take(session, first, body)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            if session is not None and session.writer is writer:
                self._gone(session)
            writer.close()

    def _connect(self, body: bytes, writer: asyncio.StreamWriter) -> Session | None:
        if self._has(Fault.SPEAKS_3_ONLY):
            writer.write(b"\x20\x02\x00\x01")
            return None
        flags, keepalive_s = body[7], int.from_bytes(body[8:10], "big")
        properties, at = packets._properties(body, 10)
        name, at = _text(body, at)
        old = next((one for one in self._sessions if one.name == name), None)
        if old is not None and old.writer is not None and not self._has(Fault.NO_TAKEOVER):
            old.writer.write(b"\xe0\x02\x8e\x00")
            old.writer.close()
            self._gone(old)
            old = old if old in self._sessions else None
        is_known = old is not None and not flags & 0x02 and not self._has(Fault.SESSION_FORGOTTEN)
        session = old if is_known and old is not None else Session(name)
        if not is_known:
            if old is not None and not self._has(Fault.NO_TAKEOVER):
                self._forget(old)
            self._sessions.append(session)
        session.writer, session.keepalive_s = writer, keepalive_s
        session.expiry_s = int.from_bytes(properties.get(0x11, b""), "big")
        session.window = int.from_bytes(properties.get(0x21, b"\xff\xff"), "big")
        session.will = None
        if flags & 0x04:
            _, at = packets._properties(body, at)
            topic, at = _text(body, at)
            session.will = topic, body[at + 2 : at + 2 + int.from_bytes(body[at : at + 2], "big")]
        announced = (b"" if self._has(Fault.NO_LIMIT) else b"\x27" + struct.pack(">I", _LIMIT)) + (
            b"" if self._has(Fault.RETAINS) else b"\x25\x00"
        )
        writer.write(packets._framed(0x20, bytes([is_known, 0, len(announced)]) + announced))
        self._pump(session)
        return session

    def _take(self, session: Session, first: int, body: bytes) -> None:
        assert session.writer is not None
        match first & 0xF0:
            case 0x30:
                self._publish(session, first, body)
            case 0x40:
                session.in_flight.pop(int.from_bytes(body[:2], "big"), None)
                self._pump(session)
            case 0x80:
                self._subscribe(session, body)
            case 0xC0:
                session.writer.write(b"\xd0\x00")

    def _publish(self, session: Session, first: int, body: bytes) -> None:
        assert session.writer is not None
        topic, at = _text(body, 0)
        properties, payload_at = packets._properties(body, at + 2)
        raw, payload = body[at + 2 : payload_at], body[payload_at:]
        may = session.is_service or f"/{session.name}/up/" in topic or self._has(Fault.WRITES_ALL)
        if first & 1:
            if not self._has(Fault.RETAINS):
                session.writer.write(b"\xe0\x02\x9a\x00")
                session.writer.close()
                return
            self._retained[topic] = payload
        reason = 0 if may or self._has(Fault.LIES) else 0x87
        session.writer.write(b"\x40\x04" + body[at : at + 2] + bytes([reason, 0]))
        if may:
            life_s = int.from_bytes(properties[0x02], "big") if 0x02 in properties else 3600.0
            self._deliver(Kept(topic, raw, payload, time.monotonic() + life_s))

    def _subscribe(self, session: Session, body: bytes) -> None:
        assert session.writer is not None
        _, at = packets._properties(body, 2)
        reasons = bytearray()
        while at < len(body):
            name, at = _text(body, at)
            at += 1
            shared = name.startswith("$share/")
            if shared and not session.is_service and not self._has(Fault.GROUPS_MIXED):
                reasons.append(0x87)
                continue
            reasons.append(1)
            if shared:
                self._groups.setdefault(self._group_of(name), []).append(session)
            session.filters.append(name)
        session.writer.write(packets._framed(0x90, body[:2] + b"\x00" + bytes(reasons)))
        for topic, payload in self._retained.items():
            if payload:
                self._offer(session, Kept(topic, b"\x00", payload, time.monotonic() + 60))

    def _group_of(self, name: str) -> str:
        _, group, plain = name.split("/", 2)
        return f"mixed/{'/'.join(plain.split('/')[:3])}/#" if self._has(Fault.GROUPS_MIXED) else f"{group}/{plain}"

    def _deliver(self, message: Kept) -> None:
        if self._has(Fault.DISORDER) and self._late is None:
            self._late = message
            return
        self._spread(message)
        late, self._late = self._late, None
        if late is not None:
            self._spread(late)

    def _spread(self, message: Kept) -> None:
        for session in list(self._sessions):
            self._offer(session, message)
        for key, members in self._groups.items():
            if topic_matches_sub(key.partition("/")[2], message.topic):
                self._give(key, members, message)

    def _give(self, key: str, members: list[Session], message: Kept) -> None:
        there = [one for one in members if one.writer is not None or self._has(Fault.DEAD_HOLD_BACK)]
        taking = there if self._has(Fault.SHARED_TO_ALL) else there[:1]
        if taking:
            # The next one's turn.
            members.remove(taking[0])
            members.append(taking[0])
        for session in taking:
            session.queue.append(Kept(message.topic, message.properties, message.payload, message.ends_s, key))
            self._pump(session)

    def _offer(self, session: Session, message: Kept) -> None:
        may = session.is_service or f"/{session.name}/down/" in message.topic or self._has(Fault.READS_ALL)
        if may and any(not f.startswith("$share") and topic_matches_sub(f, message.topic) for f in session.filters):
            session.queue.append(message)
            self._pump(session)

    def _pump(self, session: Session) -> None:
        while session.writer is not None and session.queue:
            if len(session.in_flight) >= session.window and not self._has(Fault.WINDOW_IGNORED):
                return
            message = session.queue.popleft()
            if message.ends_s < time.monotonic() and not self._has(Fault.EXPIRY_IGNORED):
                continue
            mid = next(session.mids)
            session.in_flight[mid] = message
            properties = b"\x00" if self._has(Fault.PROPERTIES_LOST) else message.properties
            if self._has(Fault.ALIAS_UNASKED):
                properties = b"\x03\x23\x00\x01"
            payload = message.payload[:1000] if self._has(Fault.CUT_SHORT) else message.payload
            head = packets._text(message.topic) + struct.pack(">H", mid)
            session.writer.write(packets._framed(0x32, head + properties + payload))

    def _gone(self, session: Session) -> None:
        session.writer = None
        will, session.will = session.will, None
        held = [*session.in_flight.values(), *session.queue]
        if session.expiry_s == 0 and not self._has(Fault.SESSION_OUTLIVES):
            self._forget(session)
        for message in held:
            if message.group and not self._has(Fault.HELD_IS_LOST) and session not in self._sessions:
                self._give(message.group, self._groups[message.group], message)
        if will is None or self._has(Fault.NO_WILL):
            return
        if session.is_service or f"/{session.name}/up/" in will[0] or self._has(Fault.ANY_WILL):
            self._deliver(Kept(will[0], b"\x00", will[1], time.monotonic() + 60))

    def _forget(self, session: Session) -> None:
        with suppress(ValueError):
            self._sessions.remove(session)
        for members in self._groups.values():
            while session in members and not self._has(Fault.DEAD_HOLD_BACK):
                members.remove(session)


@contextmanager
def faulty_broker(*faults: Fault) -> Iterator[FaultyBroker]:
    broker, loop, ready = FaultyBroker(*faults), asyncio.new_event_loop(), threading.Event()

    async def run() -> None:
        server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
        broker.port = server.sockets[0].getsockname()[1]
        ready.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    main = loop.create_task(run())
    thread = threading.Thread(target=lambda: loop.run_until_complete(main))
    thread.start()
    try:
        assert ready.wait(20)
        yield broker
    finally:
        loop.call_soon_threadsafe(main.cancel)
        thread.join(20)
        loop.close()


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, length = (await reader.readexactly(1))[0], 0
    for place in range(4):
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << (7 * place)
        if byte < 128:
            break
    return first, await reader.readexactly(length)


def _text(body: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    return body[at + 2 : end].decode(), end
