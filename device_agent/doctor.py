"""What is wrong with the set-up, in plain words: certificate, broker, clock, spool, lines. The agent may be stopped.

Reads only. Each remark stands by itself, so that one missing file does not hide the next fault.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import ssl
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from device_agent.adapters.control_socket import AgentNotRunning, ask
from device_agent.adapters.identity_files import newest_files
from device_agent.adapters.mqtt_link import Broker, tls_context
from device_agent.config import AgentConfig
from device_agent.core.trust import CHAIN, read_chain
from device_agent.core.trusted_time import BUILD_FLOOR_MS
from device_agent.errors import ConfigurationInvalid
from device_agent.policy_files import enrolled_policy, enrolled_root, newest
from protocol.errors import Malformed

REACH_TIMEOUT_S: Final = 5.0
# Re-keying is due at two thirds of 90 days; a certificate this close to its end was missed.
EXPIRES_SOON: Final = timedelta(days=14)
CLOCK_OFF_S: Final = 60


@dataclass(frozen=True, slots=True)
class Remark:
    subject: str
    ok: bool
    words: str


def examine(config: AgentConfig) -> list[Remark]:
    now = datetime.now(UTC)
    return [
        _certificate(_newest(config)[0], config.who.link, now),
        _policy(config),
        *_broker(config),
        _spool(config.spool_file),
        *_lines(config),
        *_running(config),
    ]


def _newest(config: AgentConfig) -> tuple[Path, Path]:
    bundled = config.bundled("client.crt"), config.bundled("client.key")
    return newest_files(*bundled, config.state_folder, config.who.link)


def _certificate(path: Path, link: str, now: datetime) -> Remark:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return Remark("certificate", False, f"cannot be read from {path}: {error}")
    names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    until = certificate.not_valid_after_utc
    if names != [link]:
        return Remark("certificate", False, f"is for {', '.join(names) or 'nobody'}, this link is {link}")
    if now < certificate.not_valid_before_utc:
        begins = certificate.not_valid_before_utc
        return Remark("certificate", False, f"begins {begins:%Y-%m-%d %H:%M} UTC: it is early, or this clock is wrong")
    if until - now < EXPIRES_SOON:
        return Remark("certificate", False, f"ends {until:%Y-%m-%d %H:%M} UTC: have it renewed")
    return Remark("certificate", True, f"for {link}, until {until:%Y-%m-%d}")


def _policy(config: AgentConfig) -> Remark:
    path = config.bundled("policy.json")
    try:
        held = newest(_stored_chain(config.spool_file), enrolled_policy(config), enrolled_root(config))
    except (ConfigurationInvalid, ValueError) as error:
        return Remark("policy", False, f"cannot be read from {path}: {error}")
    if isinstance(held, Malformed):
        return Remark("policy", False, f"is not signed by the root this link was enrolled with: {held.detail}")
    return Remark("policy", True, f"version {held.policy.version}, {len(held.policy.approvers)} approvers")


def _stored_chain(path: Path) -> list[str]:
    """Policies that came since the enrolment; none where there is no sound spool, which is remarked by itself."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        row = db.execute("SELECT value FROM fact WHERE name = ?", (CHAIN,)).fetchone()
        return read_chain(None if row is None else str(row[0]))
    return []


def _broker(config: AgentConfig) -> Iterator[Remark]:
    one = config.who.broker
    place = f"{one.host}:{one.port}"
    files = Broker(one.host, one.port, config.bundled("ca.crt"), *_newest(config))
    try:
        context = tls_context(files)
    except (OSError, ssl.SSLError) as error:
        yield Remark("broker", False, f"the bundle's files do not fit together: {error}")
        return
    try:
        with socket.create_connection((one.host, one.port), timeout=REACH_TIMEOUT_S) as plain:
            yield Remark("network", True, f"{place} is reached")
            with context.wrap_socket(plain, server_hostname=one.host) as secured:
                # Under TLS 1.3 a refused client certificate shows only with the first bytes that are read.
                secured.settimeout(0.5)
                yield _after_handshake(secured)
    except socket.gaierror:
        yield Remark("network", False, f"the name {one.host} is not known: no DNS, or a wrong name")
    except ssl.SSLError as error:
        yield Remark("broker", False, f"TLS fails: {error.reason or error}")
    except OSError as error:
        yield Remark("network", False, f"{place} is not reached: {error.strerror or error}")


def _after_handshake(secured: ssl.SSLSocket) -> Remark:
    try:
        secured.recv(1)
    except TimeoutError:
        return Remark("broker", True, f"speaks {secured.version()} and waits for us")
    except ssl.SSLError as error:
        return Remark("broker", False, f"refuses our certificate: {error.reason or error}")
    return Remark("broker", False, "closes the connection at once")


def _spool(path: Path) -> Remark:
    if not path.exists():
        return Remark("spool", True, "not there yet; it is made at the first start")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Remark("spool", False, f"can be read by others: {path}")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            waiting = db.execute("SELECT coalesce(sum(last - acked), 0) FROM stream").fetchone()[0]
    except sqlite3.Error as error:
        return Remark("spool", False, f"is damaged: {error}; the agent puts it aside at its next start")
    free_mb = os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_frsize // 2**20
    if verdict != "ok":
        return Remark("spool", False, f"is damaged: {verdict}; the agent puts it aside at its next start")
    return Remark("spool", free_mb > 1, f"sound, {waiting} records not acknowledged, {free_mb} MiB free on its disk")


def _lines(config: AgentConfig) -> Iterator[Remark]:
    for line in config.lines:
        subject = f"line {line.name}"
        path = config.file(line.port)
        if line.name not in config.who.attached:
            yield Remark(subject, False, "is not registered: the server does not know a device on it")
        elif line.port and not path.exists():
            yield Remark(subject, False, f"{path} is not there: adapter unplugged, or another name")
        elif line.port and not os.access(path, os.R_OK | os.W_OK):
            yield Remark(subject, False, f"{path} may not be opened by this user: add it to its group (dialout)")
        else:
            yield Remark(subject, True, f"{line.driver} at {line.url or path}")


def _running(config: AgentConfig) -> Iterator[Remark]:
    try:
        answer = list(ask(config.control_socket, {"ask": "status"}))[-1]
    except (AgentNotRunning, OSError, ValueError, IndexError):
        yield Remark("agent", False, "does not run")
        return
    yield Remark("agent", answer["connection"] == "established", f"runs, session {answer['connection']}")
    off_s = (answer["wall_ms"] - answer["trusted_ms"]) // 1000
    if not answer["is_time_signed"]:
        is_old = answer["wall_ms"] < BUILD_FLOOR_MS
        yield Remark("clock", not is_old, "the server's time was not heard since the start")
    elif abs(off_s) > CLOCK_OFF_S:
        yield Remark("clock", False, f"this clock is {abs(off_s)} s {'ahead' if off_s > 0 else 'behind'}")
    else:
        yield Remark("clock", True, "agrees with the server's signed time")
    for device in answer["devices"]:
        if device["alive"] is False:
            yield Remark(f"device {device['device']}", False, "does not answer: power, cable, or line settings")
