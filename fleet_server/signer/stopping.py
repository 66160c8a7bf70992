"""The emergency stop, from whoever pulls it to terminals: the signer ends first, then what waits is cancelled.

The signed stop, and later its lift, lie in ``DATA/server/stops``, from where ingest gives them to terminals. The signer
is asked before anything else and on its own, so that a database that is away does not keep it signing.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from sqlalchemy import Engine

from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor
from fleet_server.db import transaction
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.executions.desk import ExecutionDesk
from fleet_server.settings import ServerSettings
from fleet_server.signer.errors import SigningStopped
from fleet_server.signer.messages import Resume, Standing, Stop, StopNote
from fleet_server.signer.service import Signs
from protocol import codec
from protocol.errors import Malformed
from protocol.signing import Envelope
from protocol.stops import StopOrder

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stopping:
    engine: Engine
    settings: ServerSettings
    signer: Signs
    desk: ExecutionDesk

    def standing(self, now: datetime) -> Standing:
        return self.signer.standing(now)

    def stop(self, actor: Actor, reason: str, now: datetime) -> Standing:
        """Returns when nothing is signed any more and nothing waits."""
        self.signer.stop(Stop(actor.tenant_id, actor.name[:120], reason[:300]), now)
        standing = self._publish(actor.tenant_id, now)
        with transaction(self.engine, actor.tenant_id) as session:
            record(session, actor, "signing_stop", actor.tenant_id, {"reason": reason}, now=now)
        ended = self.desk.cancel_waiting(actor, SigningStopped.code, now)
        _log.warning("emergency stop", by=actor.name, reason=reason, cancelled=ended)
        return standing

    def lift(self, actor: Actor, lifting: str, now: datetime) -> Standing:
        """Raises ``ResumeRefused`` unless as many approvers signed as the policy says."""
        self.signer.resume(Resume(actor.tenant_id, lifting), now)
        standing = self._publish(actor.tenant_id, now)
        with transaction(self.engine, actor.tenant_id) as session:
            record(session, actor, "signing_lift", actor.tenant_id, {}, now=now)
        return standing

    def _publish(self, tenant: str, now: datetime) -> Standing:
        standing = self.signer.standing(now)
        note = note_of(standing, tenant)
        if note is not None:
            folder = make_private_dir(self.settings.server_dir / "stops")
            write_private(folder / f"{tenant}.json", note.document)
        return standing


def stop_shown(server_dir: Path, tenant: str) -> StopOrder | None:
    """The stop that holds, as terminals are given it; for a page that must not wait for the signer."""
    try:
        envelope = codec.from_json((server_dir / "stops" / f"{tenant}.json").read_bytes(), Envelope)
    except OSError:
        # Nothing was ever stopped.
        return None
    if isinstance(envelope, Malformed):
        return None
    order = codec.from_json(base64.b64decode(envelope.payload), StopOrder)
    return None if isinstance(order, Malformed) or order.lifts else order


def note_of(standing: Standing, tenant: str) -> StopNote | None:
    return next((note for note in standing.stops if note.tenant == tenant), None)
