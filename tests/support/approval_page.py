"""The approval page on the database of an API, with people who have passwords and the keys that a policy names."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import Engine

from fleet_server.approvals.page.app import create_approval_page
from fleet_server.auth.dependencies import passwords
from fleet_server.auth.models import User
from fleet_server.auth.passwords import Passwords
from fleet_server.db import transaction
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings
from fleet_server.signer.service import Signs
from protocol.commands import AUTHORISATION_TYPE
from protocol.signing import SigningKey, pae
from tests.fleet_server.factories import TENANT, settings

PASSWORD = "a long enough passphrase"
# Names of people and their roles.
PEOPLE = {"mei": "approver", "wu": "approver", "support": "support", "viewer": "viewer"}


def add_page_people(engine: Engine, tenant: str = TENANT) -> None:
    hashed = Passwords.cheap().hash(PASSWORD)
    with transaction(engine) as session:
        for name, role in PEOPLE.items():
            person = User(
                id=f"p-{name}", tenant_id=tenant, name=name, password_hash=hashed, role=role, created_at=utc_now()
            )
            session.add(person)


def page_settings(folder: Path, url: str) -> ServerSettings:
    return replace(settings(folder), approval_url=url)


def page_app(engine: Engine, wanted: ServerSettings, signer: Signs) -> FastAPI:
    app = create_approval_page(wanted, engine, signer)
    app.dependency_overrides[passwords] = Passwords.cheap
    return app


def signature_by(key: SigningKey, document_base64: str) -> dict[str, str]:
    """As the browser makes it."""
    made = key.private.sign(pae(AUTHORISATION_TYPE, base64.b64decode(document_base64)))
    return {"key_id": key.id, "signature_base64": base64.b64encode(made).decode()}
