"""Applies messages to a database as an ingest worker does, without a broker: time and order are the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import Engine, select
from sqlmodel import Session

from fleet_server.db import reading, transaction
from fleet_server.devices.habit import hour_of
from fleet_server.devices.models import Device
from fleet_server.executions.dispatch import Outgoing
from fleet_server.ingest.decode import BatchMessage, Decoded, HelloMessage, PresenceMessage, decode
from fleet_server.ingest.directory import Directory
from fleet_server.ingest.flush import Flush, Flushed
from fleet_server.ingest.heard import Heard
from fleet_server.kit.times import to_ms
from fleet_server.mqtt import Received
from fleet_server.timeline.models import Event
from protocol import codec
from protocol.identifiers import LinkId
from protocol.records import Record, RecordBody
from protocol.session import AttachedDevice, Hello, Presence, PresenceStatus, Profile, StreamPosition
from protocol.streams import Batch, StreamKind

START = datetime(2026, 3, 2, 4, tzinfo=UTC)
BOOT = "b" * 32
URGENT = "1" * 32
BULK = "2" * 32
# The device's monotonic clock at START.
MONO_MS = 1_000_000


class FlushRig:
    """``now`` is moved by the test. Ahead of ours are the device's wall clock by ``clock_error``, and its trusted one,
    which a server told it, by ``trusted_ahead``.
    """

    def __init__(self, engine: Engine, clock_error: timedelta = timedelta(0)) -> None:
        self.engine = engine
        self.now = START
        self.clock_error = clock_error
        self.trusted_ahead = timedelta(0)
        self.outgoing: list[Outgoing] = []
        self.directory = Directory()
        self._heard = Heard()

    def take_for_link(self, session: Session, tenant_id: str, link_id: str, now: datetime) -> Sequence[Outgoing]:
        taken, self.outgoing = self.outgoing, []
        return taken

    def flush(self, *messages: Decoded) -> Flushed:
        with transaction(self.engine) as session:
            flushed = Flush(session, self.directory, self._heard, self, self.now, self.now_s).run(messages)
        self._heard.note(flushed.heard, hour_of(self.now), self.now_s)
        return flushed

    @property
    def now_s(self) -> float:
        """As the worker's monotonic clock."""
        return (self.now - START).total_seconds()

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def wall_ms(self, ago_s: float = 0.0) -> int:
        """What the device's wall clock showed so long ago."""
        return to_ms(self.now + self.clock_error - timedelta(seconds=ago_s))

    def hello(
        self,
        link: str,
        session: str = "5" * 32,
        *,
        alive: Sequence[str] = (),
        silent: Sequence[str] = (),
        positions: Sequence[StreamPosition] = (),
        digest: str = "0" * 64,
    ) -> HelloMessage:
        attached = [AttachedDevice(id_, "line0", alive=True) for id_ in alive]
        attached += [AttachedDevice(id_, "line1", alive=False) for id_ in silent]
        hello = Hello(
            nonce="a" * 32,
            session=session,
            boot=BOOT,
            agent_version="0.1.0",
            versions=[1],
            capability_digest=digest,
            devices=attached,
            unregistered=[],
            streams=list(positions),
            profile=Profile.DEMO,
            keepalive_s=10.0,
            report_s=5.0,
            wall_ms=self.wall_ms(),
            trusted_ms=to_ms(self.now + self.trusted_ahead),
            mono_ms=self._mono_ms(),
        )
        return HelloMessage(LinkId(link), hello)

    @staticmethod
    def presence(
        link: str, session: str = "5" * 32, status: PresenceStatus = PresenceStatus.OFFLINE
    ) -> PresenceMessage:
        return PresenceMessage(LinkId(link), Presence(session, status, "connection lost"))

    def record(self, device: str, body: RecordBody, ago_s: float = 0.0, boot: str = BOOT) -> bytes:
        mono_ms = self._mono_ms() - int(ago_s * 1000)
        return codec.to_json(Record(device, boot, mono_ms, self.wall_ms(ago_s), body))

    def batch(
        self,
        link: str,
        first: int,
        *records: bytes | RecordBody,
        device: str | None = None,
        kind: StreamKind = StreamKind.URGENT,
        stream: str | None = None,
        mono_offset_ms: int | None = None,
    ) -> Decoded:
        plain = [one if isinstance(one, bytes) else self.record(device or link, one) for one in records]
        name = stream or (URGENT if kind is StreamKind.URGENT else BULK)
        payload = codec.to_json(Batch(name, first, [msgspec.Raw(one) for one in plain], mono_offset_ms))
        message = decode(Received(f"fleet/v1/{link}/up/{kind}", payload, None, 1, 1))
        assert isinstance(message, BatchMessage), message
        return message

    def events(self, device: str | None = None, type_: str | None = None) -> list[Event]:
        statement = select(Event).order_by(Event.__table__.c.id)  # type: ignore[attr-defined]  # SQLModel tables have it
        with reading(self.engine) as session:
            rows = list(session.execute(statement).scalars())
        return [row for row in rows if device in {None, row.device_id} and type_ in {None, row.type}]

    def device(self, id_: str) -> Device:
        with reading(self.engine) as session:
            found = session.get(Device, id_)
        assert found is not None
        return found

    def _mono_ms(self) -> int:
        return MONO_MS + int((self.now - START).total_seconds() * 1000)
