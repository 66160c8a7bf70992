"""Why a site was not shown, written or read from a file."""

from __future__ import annotations

from fleet_server.errors import FleetError


class SiteNotFound(FleetError):
    code = "site_not_found"
    status = 404

    def __init__(self, site_id: str) -> None:
        super().__init__(f"site {site_id[:64]!r} is not known here")


class SiteInvalid(FleetError):
    """Names the field, and what was expected of it; never what came: that may be about a person."""

    code = "site_invalid"
    status = 422
