"""Configuration and access rules of the broker as text, the same for the demo, for tests and for an operator.

Rules: TLS 1.3 with a client certificate only; the common name of the certificate is both user name and client id, so
that nobody can pose as another link; a link writes only its own ``up/#`` and reads only its own ``down/#``; ``svc/#``
is for services. A line on ``$share/…`` would do nothing (mosquitto checks the topic, not the group): the group's name
is a secret instead.

The values are those measured on mosquitto 2.0.11; 2.1 still reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protocol.identifiers import SERVICE_PREFIX
from protocol.topics import EVENTS, PREFIX

# One certificate per process, because a second connection of the same name throws the first one out.
MAX_INGEST_WORKERS = 4
MAX_API_REPLICAS = 4
# A payload of 64 KiB with its headers, and room to say what was too large.
MAX_PACKET_BYTES = 262_144
INGEST_NAMES = tuple(f"{SERVICE_PREFIX}fleet-{n + 1}" for n in range(MAX_INGEST_WORKERS))
API_NAMES = tuple(f"{SERVICE_PREFIX}api-{n + 1}" for n in range(MAX_API_REPLICAS))
SCHEDULER_NAMES = (f"{SERVICE_PREFIX}scheduler-1",)
SERVICE_NAMES = (*INGEST_NAMES, *API_NAMES, *SCHEDULER_NAMES)
# For ``fleet-server broker probe`` alone: certificates of minutes, and rights where no report ever goes.
PROBE_NAMES = tuple(f"{SERVICE_PREFIX}probe-{n + 1}" for n in range(2))
# Names of devices that are nobody's, for the same purpose.
PROBE_PREFIX = "probe-"
TLS_VERSION = "tlsv1.3"
TLS_CIPHERS = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")

# By it, whoever changes the files finds the process that has to read them again.
PID_FILE = "mosquitto.pid"

_SERVICE_TOPICS = EVENTS.split("/", maxsplit=1)[0] + "/v1/#"
_INGEST_RIGHTS = (
    f"read {PREFIX}/+/up/#",
    f"write {PREFIX}/+/down/#",
    f"readwrite {_SERVICE_TOPICS}",
)
_API_RIGHTS = (
    f"readwrite {_SERVICE_TOPICS}",
    f"read {PREFIX}/+/up/live",
    f"write {PREFIX}/+/down/command",
)
_SCHEDULER_RIGHTS = (
    f"readwrite {_SERVICE_TOPICS}",
    f"write {PREFIX}/+/down/command",
)
_PROBE_RIGHTS = (
    f"read {PREFIX}/+/up/probe/#",
    f"write {PREFIX}/+/down/probe/#",
)
# Two lines for every link that will ever be enrolled. "%u" only: "%c" is what a client says of itself.
_LINK_RIGHTS = (
    f"pattern write {PREFIX}/%u/up/#",
    f"pattern read {PREFIX}/%u/down/#",
)


@dataclass(frozen=True, slots=True)
class BrokerPlaces:
    """Absolute paths. ``persistence_dir`` must exist and be writable for the broker."""

    ca_file: str
    crl_file: str
    certificate_file: str
    key_file: str
    acl_file: str
    persistence_dir: str


def mosquitto_conf(places: BrokerPlaces, *, address: str, port: int, run_as: str | None = None) -> str:
    """``run_as``: ``root`` when started by root on a private folder, which mosquitto's own user could not read."""
    lines = [
        "per_listener_settings false",
        "allow_anonymous false",
        "allow_zero_length_clientid false",
        "persistence true",
        f"persistence_location {places.persistence_dir.rstrip('/')}/",
        f"pid_file {places.persistence_dir.rstrip('/')}/{PID_FILE}",
        "autosave_interval 60",
        "persistent_client_expiration 14d",
        "max_queued_messages 10000",
        "max_queued_bytes 67108864",
        "max_inflight_messages 1000",
        "set_tcp_nodelay true",
        f"max_packet_size {MAX_PACKET_BYTES}",
        "max_keepalive 600",
        "queue_qos0_messages false",
        "retain_available false",
        "log_dest stdout",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type information",
        f"acl_file {places.acl_file}",
        f"listener {port} {address}",
        "max_connections 20000",
        f"cafile {places.ca_file}",
        f"crlfile {places.crl_file}",
        f"certfile {places.certificate_file}",
        f"keyfile {places.key_file}",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        f"tls_version {TLS_VERSION}",
        f"ciphers_tls1.3 {':'.join(TLS_CIPHERS)}",
    ]
    if run_as is not None:
        lines.insert(0, f"user {run_as}")
    return "\n".join(lines) + "\n"


def acl(denied: Iterable[str] = ()) -> str:
    """``denied``: links that were taken out of service, whose sessions may still be open."""
    blocks = [
        *(_user(name, _INGEST_RIGHTS) for name in INGEST_NAMES),
        *(_user(name, _API_RIGHTS) for name in API_NAMES),
        *(_user(name, _SCHEDULER_RIGHTS) for name in SCHEDULER_NAMES),
        *(_user(name, _PROBE_RIGHTS) for name in PROBE_NAMES),
        *(f"user {name}\ntopic deny {PREFIX}/{name}/#" for name in denied),
        "\n".join(_LINK_RIGHTS),
    ]
    return "\n\n".join(blocks) + "\n"


def _user(name: str, rights: Iterable[str]) -> str:
    return "\n".join([f"user {name}", *(f"topic {right}" for right in rights)])
