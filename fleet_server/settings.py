"""One frozen object of settings, read once from ``DATA/server/fleet.toml``; a missing value names itself."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleet_server.errors import SettingsInvalid

_SQLITE = "sqlite:///"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
# Nobody becomes somebody who manages or approves because a provider knows him.
_GIVEN_BY_PROVIDER = ("", "viewer", "technician", "support")
_KEPT = {
    "events_kept_days",
    "records_kept_days",
    "inspections_kept_days",
    "audit_kept_days",
    "health_kept_days",
    "health_5min_kept_days",
    "health_hour_kept_days",
    "health_day_kept_days",
    "site_contacts_kept_days",
    "people_kept_days",
    "notes_kept_days",
}
_LONGEST_DAYS = 36_500
_SHORTEST_AUDIT_DAYS = 365
_QUOTAS = {
    "link_messages_per_s",
    "link_bytes_per_s",
    "tenant_messages_per_s",
    "tenant_bytes_per_s",
    "http_requests_per_s_per_address",
}
_AT_LEAST_ONE = {"http_connections", "http_connections_per_address"}


@dataclass(frozen=True, slots=True)
class HealthKept:
    """For how many days single samples and their rollups are kept; 0: for ever."""

    samples_days: int = 14
    five_minutes_days: int = 60
    hours_days: int = 400
    days_days: int = 1825


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
    # How long what came from devices is kept (`fleet_server.memory`), in days; 0: for ever.
    events_kept_days: int = 400
    records_kept_days: int = 90  # after they were acknowledged
    inspections_kept_days: int = 400  # what came of them; the plans stay
    # The audit (`fleet_server.audit.watch`); at least a year (PCI DSS 10.5.1).
    audit_kept_days: int = 548
    # Single samples, and what is made of them (`fleet_server.health.rollups`).
    health_kept_days: int = 14
    health_5min_kept_days: int = 60
    health_hour_kept_days: int = 400
    health_day_kept_days: int = 1825
    # People's data (`fleet_server.personal.register`): contacts of a site after its last device went, people who may
    # sign in no more, and who did what with what they wrote, of runs, approvals and devices that are over.
    site_contacts_kept_days: int = 365
    people_kept_days: int = 365
    notes_kept_days: int = 1095
    # Whether people without a second factor may work; false: they are asked to set one up first. True in the demo.
    sign_in_without_second_factor: bool = False
    # Of a signer that somebody else starts, under a user of its own; empty: `fleet-server run` starts one.
    signer_socket: str = ""
    # An OpenID provider that people may sign in with instead of a password (`fleet_server.auth.oidc`); empty: none.
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    oidc_name: str = ""  # what the button says
    # Which claim says of whose people somebody is, and what it says: "acme=north, contoso=south". Empty: who is made on
    # the fly is of the installation's own.
    oidc_tenant_claim: str = ""
    oidc_tenants: str = ""
    oidc_new_people_role: str = ""  # for whom the provider knows and nobody has linked; empty: they are refused
    # A standby of PostgreSQL to read from while the database is away; empty: none.
    read_database_url: str = ""
    # Of an issuer under a user of its own (`fleet_server.issuer`); empty: it is one of this server's processes.
    issuer_socket: str = ""
    # The approval page (`fleet_server.approvals.page`): its address as people open it, of another host or port than the
    # console's, and where its process listens; empty: there is none.
    approval_url: str = ""
    approval_host: str = "127.0.0.1"
    approval_port: int = 8081

    @property
    def health_kept(self) -> HealthKept:
        return HealthKept(
            self.health_kept_days, self.health_5min_kept_days, self.health_hour_kept_days, self.health_day_kept_days
        )

    # How much a link, and a tenant, may send a second before others go first (`fleet_server.ingest.fair_queue`); 0: no
    # limit. A gateway with 200 devices that report each minute sends about 4 messages of 1 kB.
    link_messages_per_s: int = 100
    link_bytes_per_s: int = 262_144
    tenant_messages_per_s: int = 2000
    tenant_bytes_per_s: int = 8_388_608

    # What the HTTP server bears (`fleet_server.connections`, `fleet_server.address_limit`); requests 0: no limit.
    http_connections: int = 4000
    http_connections_per_address: int = 400
    http_requests_per_s_per_address: int = 200
    # Addresses of reverse proxies, whose word on who is behind them is taken.
    http_proxies: str = "127.0.0.1, ::1"

    @property
    def proxies(self) -> frozenset[str]:
        return frozenset(self.http_proxies.replace(",", " ").split())

    @property
    def oidc_tenant_of(self) -> Mapping[str, str]:
        """By what the provider's claim says."""
        return dict(_tenants_named(self.oidc_tenants))

    @property
    def server_dir(self) -> Path:
        return self.data / "server"

    @property
    def keys_dir(self) -> Path:
        return self.server_dir / "keys"

    @property
    def audit_dir(self) -> Path:
        """Where anchors of the audit are written for somebody to carry away."""
        return self.data / "audit"

    @property
    def erasures_file(self) -> Path:
        """Beside what a restore replaces."""
        return self.data / "erasures.jsonl"

    @property
    def artifacts_dir(self) -> Path:
        """The repositories of software, a folder a tenant."""
        return self.data / "artifacts"

    @property
    def tls_dir(self) -> Path:
        return self.server_dir / "tls"

    @property
    def root_public_file(self) -> Path:
        """What devices hold the policy against; the key itself may be elsewhere."""
        return self.keys_dir / "root.pub"

    @property
    def issuer_dir(self) -> Path:
        return self.server_dir / "issuer"

    @property
    def issuer_socket_path(self) -> Path:
        return Path(self.issuer_socket) if self.issuer_socket else self.issuer_dir / "issuer.sock"

    @property
    def issuing_chain_file(self) -> Path:
        """Its certificates, which are no secret; the folder of another user cannot be read."""
        return (self.tls_dir if self.issuer_socket else self.issuer_dir) / "issuing.crt"

    @property
    def people_key(self) -> Path:
        return self.server_dir / "people.key"

    @property
    def policy_file(self) -> Path:
        return self.server_dir / "policy.json"

    @property
    def signer_elsewhere(self) -> bool:
        return self.signer_socket != ""

    @property
    def signer_dir(self) -> Path:
        return self.data / "signer"

    @property
    def signer_socket_path(self) -> Path:
        return Path(self.signer_socket) if self.signer_elsewhere else self.signer_dir / "signer.sock"

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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise SettingsInvalid(f"{path} cannot be read: {error}") from error
    wanted = {field.name: field for field in fields(ServerSettings) if field.name != "data"}
    kinds = {"str": str, "int": int, "bool": bool}
    # A file written by an earlier version names fewer.
    required = {name for name, field in wanted.items() if field.default is MISSING}
    given: dict[str, Any] = {name: values.get(name) for name in wanted if name in values or name in required}
    for name, value in given.items():
        expected = str(wanted[name].type)
        if type(value) is not kinds[expected]:
            raise SettingsInvalid(f"{path}: {name}: expected {expected}, came {value!r}")
    for name in _KEPT & given.keys():
        if not 0 <= given[name] <= _LONGEST_DAYS:
            raise SettingsInvalid(f"{path}: {name}: expected 0 (for ever) to {_LONGEST_DAYS} days, came {given[name]}")
    if 0 < given.get("audit_kept_days", 0) < _SHORTEST_AUDIT_DAYS:
        raise SettingsInvalid(
            f"{path}: audit_kept_days: expected 0 (for ever) or at least {_SHORTEST_AUDIT_DAYS} days, "
            f"came {given['audit_kept_days']}"
        )
    for name in _QUOTAS & given.keys():
        if given[name] < 0:
            raise SettingsInvalid(f"{path}: {name}: expected 0 (no limit) or more, came {given[name]}")
    for name in _AT_LEAST_ONE & given.keys():
        if given[name] < 1:
            raise SettingsInvalid(f"{path}: {name}: expected 1 or more, came {given[name]}")
    _check_provider(path, given)
    _check_approval_page(path, given)
    given["database_url"] = anchored(given["database_url"], path.parent)
    return ServerSettings(data=data, **given)


def _check_provider(path: Path, given: dict[str, Any]) -> None:
    issuer = given.get("oidc_issuer", "")
    if not issuer:
        return
    parts = urlsplit(issuer)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not is_safe or not parts.hostname:
        raise SettingsInvalid(f"{path}: oidc_issuer: expected an address that begins with https://, came {issuer!r}")
    if not given.get("oidc_client_id"):
        raise SettingsInvalid(f"{path}: oidc_client_id: expected what {issuer} calls this installation, came nothing")
    role = given.get("oidc_new_people_role", "")
    if role not in _GIVEN_BY_PROVIDER:
        wanted = ", ".join(one for one in _GIVEN_BY_PROVIDER if one)
        raise SettingsInvalid(f"{path}: oidc_new_people_role: expected nothing or one of {wanted}, came {role!r}")
    _check_tenants_of_provider(path, given.get("oidc_tenant_claim", ""), given.get("oidc_tenants", ""))


def _check_tenants_of_provider(path: Path, claim: str, tenants: str) -> None:
    """Half of it would put people where nobody meant them to be."""
    named = _tenants_named(tenants)
    if bool(claim) != bool(named):
        raise SettingsInvalid(f"{path}: expected both oidc_tenant_claim and oidc_tenants, or neither, came one")
    values = [value for value, _ in named]
    if not all(value and tenant for value, tenant in named) or len(set(values)) < len(values):
        raise SettingsInvalid(f"{path}: oidc_tenants: expected VALUE=TENANT, ... and each value once, came {tenants!r}")


def _tenants_named(text: str) -> list[tuple[str, str]]:
    """What the claim says, and whose people that makes them."""
    pairs = [one.rpartition("=") for one in text.split(",") if one.strip()]
    return [(value.strip(), tenant.strip()) for value, _, tenant in pairs]


def _check_approval_page(path: Path, given: dict[str, Any]) -> None:
    """An origin of its own, in which a browser has WebCrypto."""
    url = given.get("approval_url", "")
    if not url:
        return
    parts, console = urlsplit(url), urlsplit(given["url"])
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    # As browsers say it in ``Origin`` and ``Host``, or the page would take its own requests for another's.
    default = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    origin = f"{parts.scheme}://{parts.netloc.lower().removesuffix(default)}"
    if not is_safe or url != origin:
        raise SettingsInvalid(f"{path}: approval_url: expected https://HOST or https://HOST:PORT, came {url!r}")
    if parts.netloc == console.netloc:
        raise SettingsInvalid(f"{path}: approval_url: expected another host or port than the console's, came {url!r}")


def anchored(database_url: str, folder: Path) -> str:
    """A relative file of SQLite lies by the file that names it, wherever a process was started: a state folder that is
    copied or moved keeps to itself.
    """
    name = database_url.removeprefix(_SQLITE)
    if name == database_url or not name or name.startswith("/"):
        return database_url
    return f"{_SQLITE}{folder.resolve() / name}"


def unanchored(database_url: str, folder: Path) -> str:
    """As it is written: a file in ``folder`` by its name alone."""
    name = database_url.removeprefix(f"{_SQLITE}{folder.resolve()}/")
    return database_url if name == database_url else f"{_SQLITE}{name}"
