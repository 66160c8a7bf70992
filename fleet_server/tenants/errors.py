"""What can be wrong with a wish about tenants."""

from __future__ import annotations

from typing import ClassVar

from fleet_server.errors import FleetError


class TenantUnknown(FleetError):
    code: ClassVar[str] = "tenant_unknown"
    status: ClassVar[int] = 404


class TenantTaken(FleetError):
    code: ClassVar[str] = "tenant_taken"
    status: ClassVar[int] = 409


class TenantUnusable(FleetError):
    code: ClassVar[str] = "tenant_unusable"
    status: ClassVar[int] = 422


class OwnTenant(FleetError):
    """Without the installation's own tenant nobody could take anything back."""

    code: ClassVar[str] = "own_tenant"
    status: ClassVar[int] = 409
