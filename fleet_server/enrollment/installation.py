"""``fleet-server init``: everything a server needs before its first start, in one process and any number of times.

Order matters: settings, keys and certificates first, then the database, then people, then the fleet and its bundles. A
start that was cut short goes on where it stopped.
"""

from __future__ import annotations

import fcntl
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server import migrate
from fleet_server.assignments.repository import AssignmentFilters
from fleet_server.assignments.service import LONGEST, AssignmentService, Wish
from fleet_server.audit.anchors import ensure_anchor_key
from fleet_server.audit.service import SYSTEM, record
from fleet_server.auth.accounts import Accounts
from fleet_server.auth.passwords import Passwords, readable_password
from fleet_server.auth.people import People
from fleet_server.auth.repository import AuthRepository
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.auth.secret_box import new_key_line
from fleet_server.db import reachable_database, reading, transaction
from fleet_server.enrollment.bundles import BundleMaker
from fleet_server.enrollment.fleet_file import DeviceKind, FleetFile, read_fleet_file
from fleet_server.enrollment.policy import load_or_make_keys, write_policy
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.enrollment.registration import Registration
from fleet_server.enrollment.repository import EnrollmentRepository
from fleet_server.enrollment.settings_file import Wishes, ensure_settings
from fleet_server.enrollment.signer_folder import ensure_command_key, ensure_signer_folder
from fleet_server.enrollment.tls_files import (
    addresses_of,
    hang_up,
    read_revoked,
    renew_own_certificates,
    renew_revocation_list,
    write_broker_files,
)
from fleet_server.issuer.client import IssuerClient
from fleet_server.issuer.opening import issuer_of, prepare
from fleet_server.settings import ServerSettings
from fleet_server.sites.repository import SiteRepository
from fleet_server.tenants.errors import TenantUnknown
from fleet_server.tenants.repository import TenantRepository, ensure_tenant

DEMO_TOKEN_NAME = "demo"  # noqa: S105  # what it is called, not what it is


@dataclass(frozen=True, slots=True)
class Person:
    """Known only when the person was just made: ``password`` in the demo, else ``set_up_code``, which is good once."""

    name: str
    password: str | None
    role: Role
    set_up_code: str | None = None


@dataclass(frozen=True, slots=True)
class Enrolled:
    """``bundle`` is None for an attached device, which speaks through its gateway."""

    id: str
    bundle: Path | None


@dataclass(frozen=True, slots=True)
class Installation:
    settings: ServerSettings
    broker_config: Path
    people: tuple[Person, ...]
    api_token: str | None  # only when just made
    devices: Mapping[str, Enrolled]


def install(
    data: Path,
    wishes: Wishes,
    fleet_path: Path | None,
    now: datetime,
    passwords: Passwords,
    open_issuer: Callable[[ServerSettings], IssuerClient] = issuer_of,
    *,
    of_tenant: str | None = None,
) -> Installation:
    """``of_tenant``: whose devices the fleet file names; None: the installation's own."""
    fleet = read_fleet_file(fleet_path) if fleet_path is not None else None
    make_private_dir(data)
    with _alone(data):
        for folder in ("server", "server/keys", "server/tls", "agents", "logs"):
            make_private_dir(data / folder)
        settings = ensure_settings(data, wishes)
        _ensure_own_keys(settings)
        keys = load_or_make_keys(settings.keys_dir, ensure_command_key(settings), demo=settings.demo)
        prepare(settings, now)
        policy = write_policy(settings.policy_file, keys, now)
        ensure_signer_folder(settings, keys.root_public, policy)
        with closing(open_issuer(settings)) as issuer, reachable_database(settings.database_url) as engine:
            renew_own_certificates(issuer, settings.tls_dir, addresses_of(settings), now)
            renew_revocation_list(issuer, settings.tls_dir, read_revoked(settings.keys_dir), now)
            broker_config = write_broker_files(data / "broker", settings.tls_dir, addresses_of(settings))
            hang_up(data / "broker")
            migrate.upgrade(engine)
            hashed = _passwords_of_new_people(engine, settings, passwords)
            # One transaction: passwords that were never shown must not be kept.
            with transaction(engine) as session:
                ensure_tenant(session, settings.tenant, now)
                people, token = _ensure_people(session, settings, hashed, now)
                tenant = _known_tenant(session, of_tenant or settings.tenant)
                maker = BundleMaker(issuer, _bundle_folder(settings, tenant), settings, policy)
                devices = _enrol(session, tenant, fleet, maker, now)
                if settings.demo:
                    _assign_first_site(session, settings.tenant, now)
    return Installation(settings, broker_config, people, token, devices)


def _known_tenant(session: Session, tenant_id: str) -> str:
    if TenantRepository(session).find(tenant_id) is None:
        raise TenantUnknown(f"there is no tenant {tenant_id[:64]!r}: 'fleet-server tenants add' makes one")
    return tenant_id


def _bundle_folder(settings: ServerSettings, tenant: str) -> Path:
    """A folder for each tenant: their fleet files may use the same keys."""
    agents = settings.data / "agents"
    return agents if tenant == settings.tenant else make_private_dir(settings.data / "tenants" / tenant / "agents")


def _ensure_own_keys(settings: ServerSettings) -> None:
    ensure_anchor_key(settings.keys_dir)
    if not settings.people_key.exists():
        write_private(settings.people_key, new_key_line())


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Two of them at once would make two authorities."""
    with (data / ".init.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _passwords_of_new_people(
    engine: Engine, settings: ServerSettings, passwords: Passwords
) -> dict[Role, tuple[str, str]]:
    """In the demo one for each role, named like it. Hashed before any transaction, because it is slow."""
    if not settings.demo:
        return {}
    with reading(engine) as session:
        known = {person.name for person in AuthRepository(session).list_people(settings.tenant)}
    new = {role: readable_password() for role in Role if role.value not in known}
    with ThreadPoolExecutor(2) as pool:
        hashes = pool.map(passwords.hash, new.values())
        return {role: (password, hashed) for (role, password), hashed in zip(new.items(), hashes, strict=True)}


def _ensure_people(
    session: Session, settings: ServerSettings, hashed: Mapping[Role, tuple[str, str]], now: datetime
) -> tuple[tuple[Person, ...], str | None]:
    system = _system(settings.tenant)
    if not settings.demo:
        return (_ensure_operator(session, system, now),), None
    accounts = Accounts(session, system, now)
    for role, (_, password_hash) in hashed.items():
        accounts.add_person(role.value, password_hash, role)
    token = None
    if AuthRepository(session).find_token_named(settings.tenant, DEMO_TOKEN_NAME) is None:
        token = accounts.issue_token(DEMO_TOKEN_NAME, Role.SUPPORT)
    return tuple(Person(role.value, hashed[role][0] if role in hashed else None, role) for role in Role), token


def _ensure_operator(session: Session, system: Actor, now: datetime) -> Person:
    """Without a password: whoever runs the installation chooses it, with the code that is shown once."""
    name, code = Role.OPERATOR.value, None
    if AuthRepository(session).find_person(name) is None:
        code = People(session, system, now).add(name, Role.OPERATOR)[1]
    return Person(name, None, Role.OPERATOR, code)


def _system(tenant: str) -> Actor:
    return Actor("", SYSTEM, Role.OPERATOR, tenant, ActorKind.PERSON)


def _assign_first_site(session: Session, tenant: str, now: datetime) -> None:
    """To the demo's technician, who would see nothing otherwise, unless something is assigned to him already."""
    person = AuthRepository(session).find_person(Role.TECHNICIAN.value)
    sites = SiteRepository(session, tenant).page("", "", 1)
    if person is None or person.role != Role.TECHNICIAN.value or not sites:
        return
    assignments = AssignmentService(session, _system(tenant), now)
    filters = AssignmentFilters(assignee_id=person.id, ends_after=now)
    if not assignments.page(filters, None, 1).items:
        assignments.assign(Wish(person.name, None, sites[0].id, None, now + LONGEST))


def _enrol(
    session: Session, tenant: str, fleet: FleetFile | None, maker: BundleMaker, now: datetime
) -> dict[str, Enrolled]:
    if fleet is not None:
        new = Registration(session, tenant, now).import_fleet(fleet)
        if new.sites or new.devices:
            counts = {"sites": new.sites, "devices": new.devices}
            record(session, _system(tenant), "fleet_imported", data=counts, now=now)
    repository = EnrollmentRepository(session, tenant)
    attached: defaultdict[str, dict[str, str]] = defaultdict(dict)
    links, enrolled = [], {}
    for device in repository.list_enrolled():
        is_link = device.kind != DeviceKind.ATTACHED
        enrolled[device.key] = Enrolled(device.id, maker.folder / device.key if is_link else None)
        if is_link:
            links.append(device)
        if device.line is not None:
            attached[device.link_id][device.line] = device.id
    newest = repository.newest_serials()
    for link in links:
        issued = maker.write(link, attached.get(link.id, {}), newest.get(link.id), now)
        if issued is not None:
            repository.add(issued)
    return enrolled
