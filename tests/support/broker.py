"""A real mosquitto with the configuration, access rules and certificates that an installation gets, on a free port."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fleet_server.enrollment.authority import LEAF_LIFE, Authority, Issued, Usage
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.enrollment.tls_files import (
    Addresses,
    renew_own_certificates,
    renew_revocation_list,
    write_broker_files,
)
from fleet_server.issuer.folder import AuthorityPlaces, ensure_authority, load_authority
from fleet_server.kit.times import utc_now
from simulators.broker import BrokerMissing, Mosquitto, find_mosquitto, free_port

_START_DEADLINE_S = 20.0
_PORT_TRIES = 5
_RESTART_S = 2.0  # as the unit says
__all__ = [
    "Broker",
    "ClientFiles",
    "free_port",
    "issue_any",
    "make_authority",
    "running_broker",
    "running_mosquitto",
    "store",
]


@dataclass(frozen=True, slots=True)
class ClientFiles:
    ca: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(str(self.certificate), str(self.key))
        return context


@dataclass(slots=True)
class Broker:
    """``tls_dir`` holds the services' certificates under their names, as in an installation."""

    host: str
    port: int
    tls_dir: Path
    authority: Authority
    configuration: Path
    process: subprocess.Popen[bytes]
    program: Mosquitto

    def service(self, name: str) -> ClientFiles:
        return ClientFiles(self.tls_dir / "ca.crt", self.tls_dir / f"{name}.crt", self.tls_dir / f"{name}.key")

    def link(self, link_id: str) -> ClientFiles:
        """A client certificate of a device."""
        return store(
            self.tls_dir.parent / "links" / link_id, self.authority, self.authority.issue_link(link_id, utc_now())
        )

    def restart(self, *, kill: bool = False) -> None:
        """Stops (``kill``: without a chance to save) and starts it on the same port."""
        _stop(self.process, kill=kill)
        process = _start(self.program, self.configuration, self.port)
        if process is None:
            raise RuntimeError(f"mosquitto did not come back on port {self.port}")
        self.process = process

    def stop(self) -> None:
        _stop(self.process)


def store(folder: Path, authority: Authority, issued: Issued) -> ClientFiles:
    make_private_dir(folder)
    files = ClientFiles(folder / "ca.crt", folder / "client.crt", folder / "client.key")
    write_private(files.ca, authority.certificate_pem)
    write_private(files.certificate, issued.certificate_pem)
    write_private(files.key, issued.key_pem)
    return files


def make_authority(folder: Path) -> Authority:
    """As an installation has it, with its files below ``folder``."""
    make_private_dir(folder / "keys")
    places = AuthorityPlaces(folder / "keys", folder / "issuer")
    ensure_authority(places, utc_now())
    return load_authority(places)


def issue_any(authority: Authority, name: str, usage: Usage, now: datetime, hosts: Sequence[str] = ()) -> Issued:
    """Also what it would refuse to issue."""
    key = ec.generate_private_key(ec.SECP256R1())
    return authority._sign(name, key.public_key(), usage, now, hosts, LEAF_LIFE).with_key(key)


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    program = _mosquitto()
    authority = make_authority(folder)
    for _ in range(_PORT_TRIES):
        port = free_port()
        addresses = Addresses("127.0.0.1", port, "127.0.0.1")
        renew_own_certificates(authority, folder / "tls", addresses, utc_now())
        renew_revocation_list(authority, folder / "tls", (), utc_now())
        configuration = write_broker_files(folder / "broker", folder / "tls", addresses)
        process = _start(program, configuration, port)
        if process is not None:
            break
    else:
        log = (folder / "broker" / "log").read_text("utf-8", "replace")[-2000:]
        raise RuntimeError(f"mosquitto did not start on any of {_PORT_TRIES} ports:\n{log}")
    broker = Broker("127.0.0.1", port, folder / "tls", authority, configuration, process, program)
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def running_mosquitto(configuration: Path, port: int) -> Iterator[None]:
    """A broker for an installation that was made elsewhere, started again when it crashes, as by the unit in `deploy/`:
    mosquitto 2.0.11 does now and then, when a device comes back to a session that kept something for it.
    """
    program = _mosquitto()
    process = _start(program, configuration, port)
    if process is None:
        raise RuntimeError(f"mosquitto did not start on port {port}")
    ending = threading.Event()

    def watch() -> None:
        nonlocal process
        while not ending.wait(_RESTART_S):
            if process is None or (process.poll() or 0) < 0:
                sys.stdout.write("mosquitto crashed and is started again\n")
                process = _start(program, configuration, port)

    watcher = threading.Thread(target=watch, name="broker watcher")
    watcher.start()
    try:
        yield
    finally:
        ending.set()
        watcher.join()
        if process is not None:
            _stop(process)


def _mosquitto() -> Mosquitto:
    """Skips where mosquitto is not installed; under ``CI=true`` that is a failure."""
    try:
        return find_mosquitto()
    except BrokerMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def _start(program: Mosquitto, configuration: Path, port: int) -> subprocess.Popen[bytes] | None:
    """None when it ended by itself, as it does when somebody else took the port."""
    command, environment = program.command(configuration), {**os.environ, **program.environment}
    with configuration.with_name("log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    give_up_at = time.monotonic() + _START_DEADLINE_S
    while process.poll() is None and time.monotonic() < give_up_at:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.02)
    _stop(process, kill=True)
    return None


def _stop(process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    if process.poll() is None:
        process.kill() if kill else process.terminate()
    process.wait(_START_DEADLINE_S)
