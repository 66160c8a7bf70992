"""Options that several commands share, and who acts when a command does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlmodel import Session

    from fleet_server.auth.roles import Actor
    from fleet_server.settings import ServerSettings

DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", envvar="TILLMEDIC_DATA", help="State folder of this installation.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", metavar="ID", help="Of this tenant; left out: of the installation's own.")
]
# With a password in it, an address has no place in a command line, which everybody on the machine may read.
DATABASE_URL = "TILLMEDIC_DATABASE_URL"
DEFAULT_DATA = Path(".run")


def as_system(session: "Session", settings: "ServerSettings", tenant: str | None = None) -> "Actor":
    """Whoever may read the state folder, in a tenant that exists. Raises ``TenantUnknown``."""
    from fleet_server.audit.service import SYSTEM
    from fleet_server.auth.roles import Actor, ActorKind, Role
    from fleet_server.tenants.errors import TenantUnknown
    from fleet_server.tenants.repository import TenantRepository

    if tenant is not None and tenant != settings.tenant and TenantRepository(session).find(tenant) is None:
        raise TenantUnknown(f"there is no tenant {tenant[:64]!r}: 'fleet-server tenants list' names them")
    return Actor("", SYSTEM, Role.OPERATOR, tenant or settings.tenant, ActorKind.PERSON)
