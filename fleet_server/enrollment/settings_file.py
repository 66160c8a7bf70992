"""``fleet.toml``: written by the installation, kept as an operator changed it, overruled only by what is asked for."""

from __future__ import annotations

import ipaddress
import json
import secrets
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path

from fleet_server.enrollment.own_names import WILDCARDS, public_host
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.settings import ServerSettings, anchored, load_settings, unanchored

_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for; None leaves what is written, or the default."""

    database_url: str | None = None
    mqtt_host: str | None = None
    mqtt_port: int | None = None
    http_host: str | None = None
    http_port: int | None = None
    approval_port: int | None = None
    demo: bool | None = None


def ensure_settings(data: Path, wishes: Wishes) -> ServerSettings:
    """Raises ``SettingsInvalid`` when the file is there and broken."""
    path = data / "server" / "fleet.toml"
    present = load_settings(data) if path.exists() else _defaults(data)
    asked = {field.name: value for field in fields(Wishes) if (value := getattr(wishes, field.name)) is not None}
    wanted = replace(present, **asked)
    if wanted.demo and not _names(path, "sign_in_without_second_factor"):
        wanted = replace(wanted, sign_in_without_second_factor=True)
    wanted = replace(wanted, database_url=anchored(wanted.database_url, path.parent))
    # A demo on all addresses follows the machine from network to network; elsewhere an operator may have named a proxy.
    is_moved = wanted.demo and wanted.http_host in WILDCARDS
    if not path.exists() or is_moved or (wanted.http_host, wanted.http_port) != (present.http_host, present.http_port):
        wanted = replace(wanted, url=_url(wanted.http_host, wanted.http_port))
    if wishes.approval_port is not None:
        url = _url(wanted.http_host, wishes.approval_port)
        wanted = replace(wanted, approval_host=wanted.http_host, approval_url=url)
    if wanted != present or not path.exists() or _names_its_own_place(path, wanted):
        make_private_dir(path.parent)
        write_private(path, _toml(wanted))
    return wanted


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _defaults(data: Path) -> ServerSettings:
    return ServerSettings(
        data=data,
        database_url=f"sqlite:///{data.resolve() / 'server' / 'fleet.db'}",
        mqtt_host="127.0.0.1",
        mqtt_port=8883,
        http_host="127.0.0.1",
        http_port=8080,
        url=_url("127.0.0.1", 8080),
        # Whoever knows the name can make a share of all messages vanish.
        ingest_group="g-" + secrets.token_hex(16),
        tenant=_TENANT,
        demo=False,
    )


def _url(host: str, port: int) -> str:
    """Plain http on loopback only: elsewhere a browser offers neither service workers nor WebCrypto without TLS."""
    shown = public_host(host)
    shown = f"[{shown}]" if ":" in shown else shown
    return f"{'http' if is_loopback(host) else 'https'}://{shown}:{port}"


def _names(path: Path, key: str) -> bool:
    return path.exists() and key in tomllib.loads(path.read_text("utf-8"))


def _names_its_own_place(path: Path, settings: ServerSettings) -> bool:
    """As earlier versions wrote it: a copy of the folder would use the database of the one that was copied."""
    url = settings.database_url
    is_own = unanchored(url, settings.server_dir) != url
    return is_own and json.dumps(url, ensure_ascii=False) in path.read_text("utf-8")


def _toml(settings: ServerSettings) -> str:
    lines = ["# Written by 'fleet-server init'. Change it and start the server again."]
    values = {field.name: getattr(settings, field.name) for field in fields(settings) if field.name != "data"}
    values["database_url"] = unanchored(settings.database_url, settings.server_dir)
    # JSON's strings, numbers and booleans are TOML's.
    lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"
