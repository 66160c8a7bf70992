"""One frozen object of settings, read once from ``DATA/server/fleet.toml``; a missing value names itself."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from fleet_server.errors import SettingsInvalid


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What ``fleet-server init`` wrote down, and an operator may change."""

    data: Path
    database_url: str
    mqtt_host: str
    mqtt_port: int
    http_host: str
    http_port: int
    url: str  # of the console, as people open it
    ingest_group: str  # secret name of the shared subscription
    tenant: str
    demo: bool  # the demo's own approver key signs class 1 by itself, and the console has the demo panel

    @property
    def server_dir(self) -> Path:
        return self.data / "server"

    @property
    def keys_dir(self) -> Path:
        return self.server_dir / "keys"

    @property
    def tls_dir(self) -> Path:
        return self.server_dir / "tls"

    @property
    def policy_file(self) -> Path:
        return self.server_dir / "policy.json"

    @property
    def simulators_socket(self) -> Path:
        return self.data / "simulators.sock"


def load_settings(data: Path) -> ServerSettings:
    """Raises ``SettingsInvalid`` naming the file and what is wrong in it."""
    path = data / "server" / "fleet.toml"
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingsInvalid(f"{path} does not exist: run 'fleet-server init --data {data}' first") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsInvalid(f"{path} cannot be read: {error}") from error
    wanted = {field.name: field.type for field in fields(ServerSettings) if field.name != "data"}
    kinds = {"str": str, "int": int, "bool": bool}
    for name, kind in wanted.items():
        expected = kinds[str(kind)]
        if type(values.get(name)) is not expected:
            raise SettingsInvalid(f"{path}: {name}: expected {kind}, came {values.get(name)!r}")
    return ServerSettings(data=data, **{name: values[name] for name in wanted})
