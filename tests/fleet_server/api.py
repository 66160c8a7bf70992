"""The API as a program meets it: a real application on a database, callers' tokens, a broker that writes down."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from fleet_server.app import create_app
from fleet_server.auth.models import ApiToken
from fleet_server.auth.roles import Role
from fleet_server.databases import Databases
from fleet_server.db import transaction
from fleet_server.issuer.client import IssuerClient
from fleet_server.mqtt import ServerLink
from fleet_server.signer.service import Signs
from fleet_server.timeline.hub import EventHub
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY, Broker
from tests.fleet_server.factories import NOON, TENANT, Fleet, add_fleet, assignment, settings
from tests.support.engines import PATIENT_S
from tests.support.signing import local_signer

OTHER_TENANT = "other"
# Names of callers and what they are.
CALLERS = {
    "support": (TENANT, Role.SUPPORT),
    "viewer": (TENANT, Role.VIEWER),
    "technician": (TENANT, Role.TECHNICIAN),
    "operator": (TENANT, Role.OPERATOR),
    "approver": (TENANT, Role.APPROVER),
    "auditor": (TENANT, Role.AUDITOR),
    "stranger": (OTHER_TENANT, Role.OPERATOR),
}


class WrittenDown(Broker):
    """A link that is there from the start."""

    def start(self) -> None:
        self.is_connected = True

    def stop(self) -> None:
        self.is_connected = False


@dataclass
class Api:
    app: FastAPI
    client: TestClient
    engine: Engine
    fleet: Fleet
    broker: WrittenDown

    def get(self, path: str, caller: str = "support", **params: Any) -> Any:
        return self.client.get(path, params=params, headers=bearer(caller))

    def post(self, path: str, body: Any = None, caller: str = "support", **headers: str) -> Any:
        return self.client.post(path, json=body, headers={**bearer(caller), **headers})


def bearer(caller: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(caller)}"}


def token(caller: str) -> str:
    return f"tm_{caller}"


def add_callers(engine: Engine) -> None:
    with transaction(engine) as session:
        for name, (tenant, role) in CALLERS.items():
            digest = hashlib.sha256(token(name).encode()).hexdigest()
            row = ApiToken(
                id=f"t-{name}",
                tenant_id=tenant,
                name=name,
                token_sha256=digest,
                role=role.value,
                created_at=NOON,
            )
            session.add(row)


@contextmanager
def running_api(
    engine: Engine, folder: Path, signer: Signs | None = None, issuer: IssuerClient | None = None
) -> Iterator[Api]:
    with transaction(engine) as session:
        fleet = add_fleet(session)
        add_fleet(session, "two", tenant=OTHER_TENANT)
        session.add(assignment("t-technician", site_id=fleet.site))
    add_callers(engine)
    broker = WrittenDown()
    app = create_app(
        settings(folder),
        engine,
        cast("ServerLink", broker),
        EventHub(engine),
        signer or local_signer(COMMAND_KEY, APPROVER_KEY),
        databases=Databases(engine, silent_s=PATIENT_S),
        issuer=issuer,
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Api(app, client, engine, fleet, broker)
