"""The emergency stop, from whoever pulls it to terminals: the signer ends first, then what waits is cancelled.

The signed stop, and later its lift, lie in ``DATA/server/stops``, from where ingest gives them to terminals. The signer
is asked before anything else and on its own, so that a database that is away does not keep it signing.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog
from sqlalchemy import Engine

from fleet_server.audit.service import record
from fleet_server.audit.subjects import of_actor
from fleet_server.auth.roles import Actor
from fleet_server.db import reading, transaction
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.executions.desk import ExecutionDesk
from fleet_server.settings import ServerSettings
from fleet_server.signer.errors import SigningStopped
from fleet_server.signer.messages import Resume, Standing, Stop, StopNote
from fleet_server.signer.service import Signs
from fleet_server.tenants.repository import TenantRepository
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

    def approvers(self, tenant_id: str, now: datetime) -> list[str]:
        """Who may allow this tenant something."""
        policy = self.signer.policy(now)
        return sorted({one.name for one in policy.approvers if one.tenant in {"", tenant_id}})

    def stop(self, actor: Actor, reason: str, now: datetime) -> Standing:
        """Of all tenants, the installation's own first, for which no database is asked. Returns when nothing is signed
        any more and nothing waits.
        """
        standing = self._stop(actor, reason, now)
        with reading(self.engine) as session:
            others = [one for one in TenantRepository(session).ids() if one != actor.tenant_id]
        for tenant_id in others:
            standing = self._stop(replace(actor, tenant_id=tenant_id), reason, now)
        ended = 0
        for tenant_id in (actor.tenant_id, *others):
            there = replace(actor, tenant_id=tenant_id)
            with transaction(self.engine, tenant_id) as session:
                record(session, there, "signing_stop", tenant_id, personal={"reason": reason}, now=now)
            ended += self.desk.cancel_waiting(there, SigningStopped.code, now)
        _log.warning("emergency stop", by=of_actor(actor), tenants=1 + len(others), cancelled=ended)
        return standing

    def _stop(self, actor: Actor, reason: str, now: datetime) -> Standing:
        above = epoch_shown(self.settings.server_dir, actor.tenant_id)
        self.signer.stop(Stop(actor.tenant_id, actor.name[:120], reason[:300], above), now)
        return self._publish(now)

    def lift(self, actor: Actor, lifting: str, now: datetime) -> Standing:
        """Raises ``ResumeRefused`` unless as many approvers signed as the policy says."""
        self.signer.resume(Resume(actor.tenant_id, lifting), now)
        standing = self._publish(now)
        with transaction(self.engine, actor.tenant_id) as session:
            record(session, actor, "signing_lift", actor.tenant_id, {}, now=now)
        return standing

    def _publish(self, now: datetime) -> Standing:
        standing = self.signer.standing(now)
        publish_stops(self.settings.server_dir, standing)
        return standing


def publish_stops(server_dir: Path, standing: Standing) -> None:
    """The last stop or lift of each tenant, to where ingest looks for them."""
    for note in standing.stops:
        write_private(make_private_dir(server_dir / "stops") / f"{note.tenant}.json", note.document)


def stop_shown(server_dir: Path, tenant: str) -> StopOrder | None:
    """The stop that holds, as terminals are given it; for a page that must not wait for the signer."""
    order = _order_shown(server_dir, tenant)
    return None if order is None or order.lifts else order


def epoch_shown(server_dir: Path, tenant: str) -> int:
    """Of the last stop or lift that terminals were given."""
    order = _order_shown(server_dir, tenant)
    return 0 if order is None else order.epoch


def _order_shown(server_dir: Path, tenant: str) -> StopOrder | None:
    try:
        envelope = codec.from_json((server_dir / "stops" / f"{tenant}.json").read_bytes(), Envelope)
    except OSError:
        # Nothing was ever stopped.
        return None
    if isinstance(envelope, Malformed):
        return None
    order = codec.from_json(base64.b64decode(envelope.payload), StopOrder)
    return None if isinstance(order, Malformed) else order


def note_of(standing: Standing, tenant: str) -> StopNote | None:
    return next((note for note in standing.stops if note.tenant == tenant), None)
