"""Writes docs/openapi.json from the API's own types; with --check says whether it is up to date (exit code 1: no)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from fleet_server.app import create_app
from fleet_server.settings import ServerSettings
from fleet_server.signer.client import SignerClient
from fleet_server.timeline.hub import EventHub
from tools.generated import write_or_check

TARGET = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"


def document() -> dict[str, Any]:
    """What a server answers at /openapi.json. Nothing is opened: the application is only described."""
    settings = ServerSettings(
        data=Path("nowhere"),
        database_url="sqlite://",
        mqtt_host="127.0.0.1",
        mqtt_port=1,
        http_host="127.0.0.1",
        http_port=1,
        url="http://127.0.0.1",
        ingest_group="",
        tenant="default",
        demo=False,
    )
    engine = create_engine(settings.database_url)
    # Nobody listens there: nothing is signed by describing.
    signer = SignerClient(settings.signer_socket_path)
    return create_app(settings, engine, None, EventHub(engine), signer).openapi()


def main() -> int:
    return write_or_check(TARGET, json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
