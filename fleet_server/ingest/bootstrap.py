"""The wiring of an ingest worker. Refuses to start on a database of another revision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from fleet_server.db import lax_settings, reachable_database, transaction
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.ingest.answers import Answers
from fleet_server.ingest.door import Door
from fleet_server.ingest.fair_queue import Quota, Quotas
from fleet_server.ingest.installation import db_epoch
from fleet_server.ingest.trust_news import TrustNews
from fleet_server.ingest.worker import Worker
from fleet_server.schema import check_revision
from fleet_server.settings import ServerSettings
from fleet_server.signer.bootstrap import signer_client
from fleet_server.signer.keys import load_key

_log = structlog.get_logger(__name__)


def quotas_of(settings: ServerSettings) -> Quotas:
    return Quotas(
        link=Quota(settings.link_messages_per_s, settings.link_bytes_per_s),
        tenant=Quota(settings.tenant_messages_per_s, settings.tenant_bytes_per_s),
    )


@contextmanager
def make_worker(settings: ServerSettings, name: str) -> Iterator[Worker]:
    """A worker that is not running yet; its connections are closed at the end."""
    with reachable_database(settings.database_url) as engine:
        check_revision(engine)
        with transaction(engine) as session:
            epoch = db_epoch(session)
            for setting in lax_settings(session):
                _log.warning("PostgreSQL forgets acknowledged records in a power cut: turn this on", setting=setting)
        answers = Answers(load_key(settings.keys_dir / "server.seed"), epoch)
        dispatcher = Dispatcher(signer_client(settings))
        trust = TrustNews(settings.server_dir)
        try:
            yield Worker(name, engine, Door(settings, name), answers, dispatcher, quotas_of(settings), trust)
        finally:
            dispatcher.close()
