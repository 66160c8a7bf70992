"""Makes a retirement true at the broker: no new connection, no open session, nothing more that it says or hears.

For each device in turn: the issuer retires its name; its serial numbers go into the list of revoked certificates and a
line that denies it all into the access rules; the broker reads both again (SIGHUP by its pid file, or by the path unit
where another user runs it); then its session is taken over with a certificate of five minutes, which ends the open one,
and one message is tried: the broker has read the rules when it says "not authorized". Only then it is done. Each step
may be repeated, so one that was cut short is done again.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from fleet_server.db import reading, transaction
from fleet_server.enrollment.models import IssuedCertificate, Retirement
from fleet_server.enrollment.private_files import write_private
from fleet_server.enrollment.tls_files import REVOCATION_LIST, hang_up, read_revoked
from fleet_server.issuer.client import IssuerClient
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings
from protocol import mqtt_packets as packets
from protocol.broker_rules import MAX_PACKET_BYTES, acl

LOOK_EVERY_S = 0.5
RETRY_EVERY_S = 2.0
# Longer than the longest certificate with its grace: the list of revoked ones has forgotten it then, and so may we.
DENIED_FOR = timedelta(days=400)
_AT_ONCE = 100
_PATIENCE_S = 3.0
_NOT_AUTHORIZED = 0x87
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    device_id: str
    reason: str
    known: dict[str, datetime]


class Enforcer:
    """``leads``: whether this process is the one that does it."""

    def __init__(
        self,
        engine: Engine,
        settings: ServerSettings,
        issuer: IssuerClient,
        leads: Callable[[], bool],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._issuer = issuer
        self._leads = leads
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        is_first = True
        while not stop.is_set():
            wait_s = LOOK_EVERY_S
            try:
                if self._leads():
                    if is_first:
                        # The broker's folder may have been made anew.
                        self._write_rules()
                        hang_up(self._settings.data / "broker")
                        is_first = False
                    self.step()
            except Exception:  # noqa: BLE001 - whatever stands in the way today, it is tried again
                _log.exception("a device could not be shut out, trying again")
                wait_s = RETRY_EVERY_S
            stop.wait(wait_s)

    def step(self) -> int:
        """How many were shut out now."""
        due = self._due()
        if not due:
            return 0
        for one in due:
            self._issuer.retire(one.device_id, one.reason, one.known)
        self._write_list()
        self._write_rules()
        hang_up(self._settings.data / "broker")
        done = [one.device_id for one in due if self._cut(one.device_id)]
        with transaction(self._engine) as session:
            for row in session.exec(select(Retirement).where(col(Retirement.device_id).in_(done))):
                row.enforced_at = self._clock()
                session.add(row)
        return len(done)

    def _due(self) -> list[Due]:
        with reading(self._engine) as session:
            statement = select(Retirement).where(col(Retirement.enforced_at).is_(None))
            rows = session.exec(statement.order_by(col(Retirement.at)).limit(_AT_ONCE)).all()
            return [Due(row.device_id, row.reason, _known(session, row.device_id)) for row in rows]

    def _write_list(self) -> None:
        serials = read_revoked(self._settings.keys_dir)
        write_private(self._settings.tls_dir / REVOCATION_LIST, self._issuer.revocation_list(serials, self._clock()))

    def _write_rules(self) -> None:
        rules = self._settings.data / "broker" / "acl"
        if not rules.exists():
            return
        with reading(self._engine) as session:
            statement = select(Retirement.device_id).where(
                Retirement.link_id == Retirement.device_id, col(Retirement.at) > self._clock() - DENIED_FOR
            )
            denied: Sequence[str] = session.exec(statement.order_by(Retirement.device_id)).all()
        write_private(rules, acl(denied))

    def _cut(self, link_id: str) -> bool:
        """Whether the session is over and the broker lets it do nothing any more."""
        issued = self._issuer.take_over(link_id)
        context = ssl.create_default_context(cafile=str(self._settings.tls_dir / "ca.crt"))
        with tempfile.TemporaryDirectory(prefix="tillmedic-") as folder:
            files = Path(folder) / "client.crt", Path(folder) / "client.key"
            write_private(files[0], issued.certificate_pem)
            write_private(files[1], issued.key_pem)
            context.load_cert_chain(*files)
        try:
            return _take_over(self._settings, context, link_id) or not (self._settings.data / "broker").exists()
        except OSError as error:
            _log.warning("the broker could not be asked to end a session, trying again", link=link_id, error=str(error))
            return False


def _known(session: Session, link_id: str) -> dict[str, datetime]:
    rows = session.exec(select(IssuedCertificate).where(IssuedCertificate.link_id == link_id)).all()
    return {row.serial: row.not_after for row in rows}


def _take_over(settings: ServerSettings, context: ssl.SSLContext, link_id: str) -> bool:
    host = settings.mqtt_host
    with (
        socket.create_connection((host, settings.mqtt_port), _PATIENCE_S) as raw,
        context.wrap_socket(raw, server_hostname=host) as link,
    ):
        link.settimeout(_PATIENCE_S)
        # A new session of no duration: what was kept for the old one is gone with it.
        link.sendall(packets.connect(link_id, 30, max_packet_bytes=MAX_PACKET_BYTES))
        link.sendall(packets.publish(f"fleet/v1/{link_id}/up/live", b"", qos=1, mid=1, content_type=None))
        reader = packets.PacketReader()
        while True:
            piece = link.recv(4096)
            if not piece:
                raise ConnectionResetError("it closed the connection")
            for packet in reader.feed(piece):
                if isinstance(packet, packets.Puback):
                    link.sendall(packets.DISCONNECT)
                    return packet.reason == _NOT_AUTHORIZED
