"""Certificates of the installation itself, and the broker's files. Called at every start: what is still good stays."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fleet_server.broker.rights import parse_rights
from fleet_server.enrollment.authority import Issued, Issuing, due_for_renewal, hosts_of, is_issued_by, is_list_due
from fleet_server.enrollment.errors import DataFolderUnusable
from fleet_server.enrollment.own_names import WILDCARDS, own_addresses
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.issuer.opening import opened_issuer
from fleet_server.settings import ServerSettings
from protocol.broker_rules import PID_FILE, SERVICE_NAMES, BrokerPlaces, acl, mosquitto_conf
from protocol.identifiers import is_identifier

REVOCATION_LIST = "ca.crl"
# What the broker has to read again.
OF_BROKER = frozenset({"broker", "revocation list"})
_LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Addresses:
    mqtt_host: str
    mqtt_port: int
    http_host: str


def addresses_of(settings: ServerSettings) -> Addresses:
    return Addresses(settings.mqtt_host, settings.mqtt_port, settings.http_host)


def renew_certificates(settings: ServerSettings, now: datetime) -> list[str]:
    """The names of those that were made anew: ``broker``, ``http``, services."""
    with opened_issuer(settings) as issuer:
        renewed = renew_own_certificates(issuer, settings.tls_dir, addresses_of(settings), now)
        return renewed + renew_revocation_list(issuer, settings.tls_dir, read_revoked(settings.keys_dir), now)


def renew_own_certificates(authority: Issuing, tls_dir: Path, addresses: Addresses, now: datetime) -> list[str]:
    """Certificates of broker, console and services; the names of those that were made anew."""
    make_private_dir(tls_dir)
    renewed = []
    for name, host in (("broker", addresses.mqtt_host), ("http", addresses.http_host)):
        hosts = [*_LOOPBACK, *_names_of(host)]
        if _is_due(tls_dir / f"{name}.crt", authority, now, hosts):
            _write(tls_dir, name, authority.issue_server(hosts, now))
            renewed.append(name)
    for name in SERVICE_NAMES:
        if _is_due(tls_dir / f"{name}.crt", authority, now, ()):
            _write(tls_dir, name, authority.issue_service(name, now))
            renewed.append(name)
    write_private(tls_dir / "ca.crt", authority.certificate_pem)
    return renewed


def forget_certificates(tls_dir: Path, names: Sequence[str]) -> None:
    """So that they are made anew; none named: all. Raises ``DataFolderUnusable`` for a name that there is not."""
    known = ("broker", "http", *SERVICE_NAMES)
    strange = sorted(set(names) - set(known))
    if strange:
        raise DataFolderUnusable(f"expected one of {', '.join(known)}, came {strange[0]}")
    for name in names or known:
        (tls_dir / f"{name}.crt").unlink(missing_ok=True)


def read_revoked(keys_dir: Path) -> frozenset[int]:
    """Serial numbers in ``revoked``: one a line, hexadecimal; what follows "#" is for people."""
    path = keys_dir / "revoked"
    if not path.exists():
        return frozenset()
    try:
        entries = [line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines()]
        return frozenset(int(entry.replace(":", ""), 16) for entry in entries if entry)
    except (OSError, ValueError) as error:
        raise DataFolderUnusable(f"{path}: expected a hexadecimal serial number a line: {error}") from error


def renew_revocation_list(authority: Issuing, tls_dir: Path, serials: Collection[int], now: datetime) -> list[str]:
    """``["revocation list"]`` when it was made anew; the broker reads it at its start and on SIGHUP."""
    path = tls_dir / REVOCATION_LIST
    if path.exists() and not is_list_due(path.read_bytes(), authority.certificate, serials, now):
        return []
    write_private(path, authority.revocation_list(serials, now))
    return ["revocation list"]


def write_broker_files(broker_dir: Path, tls_dir: Path, addresses: Addresses) -> Path:
    """The path of mosquitto's configuration."""
    make_private_dir(broker_dir)
    make_private_dir(broker_dir / "state")
    configuration = broker_dir / "mosquitto.conf"
    write_private(broker_dir / "acl", acl(_denied(broker_dir / "acl")))
    write_private(configuration, broker_configuration(broker_dir, tls_dir, addresses))
    return configuration


def hang_up(broker_dir: Path) -> bool:
    """The broker of this folder reads its files again (SIGHUP); False: it is not here, or another user's, and whoever
    watches the files (a path unit of systemd) has to tell it.
    """
    with suppress(OSError, ValueError):
        pid = int((broker_dir / "state" / PID_FILE).read_text("ascii"))
        # A number of a process that is gone may be another's by now.
        if Path(f"/proc/{pid}/comm").read_text("ascii").strip() == "mosquitto":
            os.kill(pid, signal.SIGHUP)
            return True
    return False


def _denied(rules: Path) -> list[str]:
    """Links that were shut out stay so, until `fleet_server.enrollment.enforcing` knows better."""
    if not rules.exists():
        return []
    rights = parse_rights(rules.read_text("utf-8", "replace"))
    return sorted({one.who for one in rights if one.access == "deny" and is_identifier(one.who)})


def broker_configuration(broker_dir: Path, tls_dir: Path, addresses: Addresses) -> str:
    places = BrokerPlaces(
        ca_file=str(tls_dir.resolve() / "ca.crt"),
        crl_file=str(tls_dir.resolve() / REVOCATION_LIST),
        certificate_file=str(tls_dir.resolve() / "broker.crt"),
        key_file=str(tls_dir.resolve() / "broker.key"),
        acl_file=str(broker_dir.resolve() / "acl"),
        persistence_dir=str(broker_dir.resolve() / "state"),
    )
    # mosquitto drops root for a user who cannot look into a private folder, unless it is told to stay.
    run_as = "root" if os.getuid() == 0 else None
    return mosquitto_conf(places, address=addresses.mqtt_host, port=addresses.mqtt_port, run_as=run_as)


def _names_of(host: str) -> list[str]:
    """What clients may know it by. A wildcard address is kept as it stands: our own processes connect to it."""
    own = socket.gethostname()
    if host not in {*WILDCARDS, own}:
        return [host]
    return [*dict.fromkeys((host, own)), *own_addresses()]


def _is_due(path: Path, authority: Issuing, now: datetime, hosts: Sequence[str]) -> bool:
    if not path.exists() or not path.with_suffix(".key").exists():
        return True
    pem = path.read_bytes()
    return due_for_renewal(pem, now) or not is_issued_by(pem, authority) or not set(hosts) <= hosts_of(pem)


def _write(folder: Path, name: str, issued: Issued) -> None:
    write_private(folder / f"{name}.key", issued.key_pem)
    write_private(folder / f"{name}.crt", issued.certificate_pem)
